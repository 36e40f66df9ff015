# The model repository as an image: what a cluster serves is then one immutable thing with a digest.
# `make repository-image`; the build's context is the repository itself.
ARG BASE=busybox:1.37
FROM ${BASE}
COPY --chown=1000:1000 . /models
USER 1000:1000
CMD ["cp", "-r", "/models/.", "/repository/"]
