# The page of ganime_age in a container, with its weights; nothing is downloaded when it runs.
#
#   docker build -t ganime_age .                                                     processor alone
#   docker build -t ganime_age --build-arg TORCH_INDEX=https://pypi.org/simple .     with CUDA
#   docker run --rm -p 7860:7860 ganime_age                                          then open http://127.0.0.1:7860
#   docker run --rm -p 7860:7860 --gpus all ganime_age                               the same with CUDA
#   docker run --rm -v "$PWD:/photos" -w /photos ganime_age edit portrait.jpg -o older.png --age 70
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    GRADIO_SERVER_NAME=0.0.0.0 GRADIO_ANALYTICS_ENABLED=False HF_HUB_DISABLE_TELEMETRY=1
RUN pip install --index-url "${TORCH_INDEX}" "${TORCH}"

WORKDIR /app
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY model_card model_card
COPY src src
RUN pip install ".[space,video]"

RUN useradd --create-home user
USER user
WORKDIR /home/user
EXPOSE 7860
ENTRYPOINT ["ganime-age"]
CMD ["app", "--port", "7860"]
