# docs/docker.md says how to use the image.
# Not past 3.12: tensorflow-io has no wheels for later ones.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1

# The large downloads in a layer of their own, which a change of the code leaves as it is.
# tests/test_packaging.py holds these to what setup.cfg says.
RUN pip install --upgrade pip \
 && pip install "tensorflow[and-cuda]~=2.16.2" "tensorflow-io==0.37.1" "setuptools<81"

WORKDIR /poets_tfr
COPY . .
RUN pip install -e ".[io,heif,gpu]" \
 && chmod -R a+rX /poets_tfr

# The paths of the tutorial: its volumes, writable for whatever -u says, and its scripts.
RUN mkdir -m 1777 /tf_files /image_classification_tf_docker \
 && mkdir -p /tensorflow/tensorflow/examples/image_retraining \
 && ln -s /poets_tfr/tools/retrain.py /poets_tfr/tools/label_image.py \
        /tensorflow/tensorflow/examples/image_retraining/

# -u names a user that the image does not know: no home folder, and no name for getpass to find.
ENV HOME=/tmp \
    USER=poets

WORKDIR /tensorflow
EXPOSE 6006
CMD ["bash"]
