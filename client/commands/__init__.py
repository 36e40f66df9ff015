"""What the commands do: measure, show, write the result, and judge it. One module a command."""
