"""A Pocket TTS model as small as can be: its shape is right, its weights are random, its speech is noise.

`python -m tests.contract.pocket_model FOLDER` makes one as large as the real one, for `bench.engines`.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

INSTALLED: Final = find_spec("pocket_tts") is not None
REASON: Final = "needs the optional package: uv pip install 'pocket-tts>=4.0.1,<4.1'"

_SEANET: Final = {
    "dimension": 32,
    "channels": 1,
    "n_filters": 4,
    "n_residual_layers": 1,
    "ratios": [6, 5, 4],
    "kernel_size": 7,
    "residual_kernel_size": 3,
    "last_kernel_size": 3,
    "dilation_base": 2,
    "pad_mode": "constant",
    "compress": 2,
}
_CODEC: Final = {
    "dtype": "float32",
    "sample_rate": 24_000,
    "inner_dim": 32,
    "outer_dim": 32,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": _SEANET,
    "transformer": {
        "d_model": 32,
        "num_heads": 2,
        "num_layers": 1,
        "layer_scale": 0.01,
        "context": 50,
        "dim_feedforward": 64,
        "input_dimension": 32,
        "output_dimensions": [32],
    },
    "quantizer": {"dimension": 32, "output_dimension": 32},
}


def make(folder: Path, languages: dict[str, str], words: str, *, full: bool = False) -> Path:
    """Configurations, weights and a tokenizer that knows these words; `languages` are names of files."""
    tokens = _tokenizer(folder / "tokenizer.json", words)
    for number, name in enumerate(languages.values()):
        shape = _shape(folder / "tokenizer.json", tokens)
        if full:
            shape = _full_shape(name, shape)
        _write(folder / f"{name}.yaml", shape)
        weights = folder / f"{name}.safetensors"
        _random_weights(folder / f"{name}.yaml", weights, seed=number)
        _write(folder / f"{name}.yaml", {**shape, "weights_path": str(weights)})
    return folder


def _shape(tokenizer: Path, tokens: int) -> dict[str, Any]:
    table = {"dim": 32, "n_bins": tokens, "tokenizer": "tokenizers", "tokenizer_path": str(tokenizer)}
    return {
        # Random weights end when they like; this way never before the text's own longest time.
        "default_eos_threshold": 1e9,
        "flow_lm": {
            "insert_bos_before_voice": True,
            "dtype": "float32",
            "flow": {"depth": 1, "dim": 32},
            "transformer": {
                "d_model": 32,
                "hidden_scale": 2,
                "max_period": 10_000,
                "num_heads": 2,
                "num_layers": 1,
            },
            "lookup_table": table,
        },
        "mimi": _CODEC,
    }


def _full_shape(name: str, small: dict[str, Any]) -> dict[str, Any]:
    """The package's own, with our tokenizer and without its weights."""
    package = Path(import_module("pocket_tts").__file__ or "").parent
    shape: dict[str, Any] = import_module("yaml").safe_load((package / "config" / f"{name}.yaml").read_text())
    del shape["weights_path"], shape["weights_path_without_voice_cloning"]
    table = {**small["flow_lm"]["lookup_table"], "dim": shape["flow_lm"]["lookup_table"]["dim"]}
    flow = {**shape["flow_lm"], "lookup_table": table}
    return {**shape, "flow_lm": flow, "default_eos_threshold": small["default_eos_threshold"]}


def _write(path: Path, shape: dict[str, Any]) -> None:
    path.write_text(import_module("yaml").safe_dump(shape))


def _tokenizer(path: Path, words: str) -> int:
    """Whole words are one token, as in a real one; whatever else is spelled."""
    tokenizers, parts = import_module("tokenizers"), import_module("tokenizers.pre_tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = parts.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=parts.ByteLevel.alphabet(), show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator([words] * 2, trainer)
    tokenizer.save(str(path))
    return int(tokenizer.get_vocab_size())


def _random_weights(configuration: Path, weights: Path, seed: int) -> None:
    torch = import_module("torch")
    model = import_module("pocket_tts").TTSModel.load_model(config=configuration)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    import_module("safetensors.torch").save_file(model.state_dict(), weights)


if __name__ == "__main__":
    from tests.contract.engine_stages import NOTES

    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    make(into, {"en": "english"}, " ".join(NOTES.values()), full=True)
