"""Whether answers belong to their questions: traffic of known images, and a judgement of every row of every answer."""
