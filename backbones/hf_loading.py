"""Finding a speech model of transformers with its processor, on disk, on the hub, or in a checkpoint's record."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

from backbones.frontend import SAMPLE_RATE
from dsnet_plugin.errors import ConfigError, DSNetError

PROCESSORS = {
    "wav2vec2": "Wav2Vec2FeatureExtractor",
    "hubert": "Wav2Vec2FeatureExtractor",
    "wavlm": "Wav2Vec2FeatureExtractor",
    "data2vec-audio": "Wav2Vec2FeatureExtractor",
    "whisper": "WhisperFeatureExtractor",
    "audio-spectrogram-transformer": "ASTFeatureExtractor",
}
"""The ``model_type`` of each supported family, and the class of its processor."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class Blueprint(TypedDict):
    """What :func:`build` makes a model of, weights apart, as JSON can hold it."""

    config: Mapping[str, Any]
    """The model's configuration."""

    processor: Mapping[str, Any]
    """The processor's configuration."""


def load(source: str) -> tuple[Any, Any]:
    """A model and its processor from a folder that ``save_pretrained`` wrote, or by a hub id.

    Weights come from safetensors alone, in float32; code that a repository brings is not run.

    Raises:
        ConfigError: no such folder, no model in it, a family that is not supported, a processor that is missing or of
            another kind, no safetensors, or weights that lack tensors of the model.
        DSNetError: transformers is not installed.
    """
    transformers = _transformers()
    if Path(source).is_dir():
        if not (Path(source) / "config.json").is_file():
            raise ConfigError(f"hf/{source}: the folder has no config.json; expected one that save_pretrained wrote")
    elif not _HUB_ID.fullmatch(source):
        raise ConfigError(f"hf/{source}: no such folder; expected one that save_pretrained wrote, or a hub id")
    config = _read(source, "configuration", transformers.AutoConfig)
    _check_family(source, config)
    processor = _read(source, "processor (preprocessor_config.json)", transformers.AutoFeatureExtractor)
    _prepare(config)
    model, report = _read(
        source,
        "weights (model.safetensors)",
        transformers.AutoModel,
        config=config,
        use_safetensors=True,
        output_loading_info=True,
    )
    model, processor = _checked(source, model, processor)
    lacking = sorted(set(report["missing_keys"]) & _names_in(model, config))
    if lacking:
        raise ConfigError(
            f"hf/{source}: its weights lack {len(lacking)} tensors of a {config.model_type} model, such as {lacking[0]}; "
            "expected the weights of the model that config.json describes"
        )
    return model, processor


def blueprint(model: Any, processor: Any) -> Blueprint:
    """The blueprint of a model and its processor."""
    processor_record = {key: value for key, value in processor.to_dict().items() if key != "mel_filters"}
    return {"config": model.config.to_dict(), "processor": processor_record}


def build(source: str, record: Blueprint) -> tuple[Any, Any]:
    """The model and processor of a :func:`blueprint`, with random weights; reads no file.

    Args:
        source: where the model came from, for messages.
        record: the blueprint.

    Raises:
        ConfigError: a record that this release of transformers cannot build.
        DSNetError: transformers is not installed.
    """
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.for_model(**record["config"])
        _check_family(source, config)
        processor = getattr(transformers, PROCESSORS[config.model_type]).from_dict(dict(record["processor"]))
        model = transformers.AutoModel.from_config(config)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"hf/{source}: transformers {transformers.__version__} cannot build it: {error}") from error
    return _checked(source, model, processor)


def _read(source: str, what: str, kind: Any, **options: Any) -> Any:
    try:
        with _without_bars():
            return kind.from_pretrained(source, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        seen = "" if Path(source).is_dir() else "no such folder here, and taken as a hub id: "
        raise ConfigError(f"hf/{source}: {seen}cannot load its {what}: {reason}") from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keeps transformers' own progress bars, which would run across the caller's, from being shown."""
    logging = _transformers().utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _check_family(source: str, config: Any) -> None:
    if config.model_type not in PROCESSORS:
        known = ", ".join(PROCESSORS)
        raise ConfigError(
            f"hf/{source} is a {config.model_type!r} model; expected an encoder of speech, one of: {known}"
        )


def _prepare(config: Any) -> None:
    """Leaves out what only pre-training has, see :class:`backbones.HFEncoder`."""
    config.apply_spec_augment = False
    for name in ("layerdrop", "encoder_layerdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    if hasattr(config, "add_adapter"):
        config.add_adapter = False


def _checked(source: str, model: Any, processor: Any) -> tuple[Any, Any]:
    """The encoder alone in float32, with the processor that belongs to it."""
    config = model.config
    wanted = PROCESSORS[config.model_type]
    if type(processor).__name__ != wanted:
        raise ConfigError(f"hf/{source}: its processor is a {type(processor).__name__}; expected a {wanted}")
    if processor.sampling_rate != SAMPLE_RATE:
        raise ConfigError(f"hf/{source} takes {processor.sampling_rate} Hz; expected {SAMPLE_RATE} Hz")
    if config.model_type == "whisper":
        frames = 2 * config.max_source_positions  # its second convolution has stride 2
        if processor.nb_max_frames != frames:
            raise ConfigError(
                f"hf/{source}: its processor gives {processor.nb_max_frames} frames and its model takes {frames}; "
                "expected the two of one model (chunk_length, max_source_positions)"
            )
        model = model.get_encoder()
    if config.model_type == "audio-spectrogram-transformer":
        offered = processor.max_length, processor.num_mel_bins
        expected = config.max_length, config.num_mel_bins
        if offered != expected:
            raise ConfigError(
                f"hf/{source}: its processor gives (frames, mel bins) {offered} and its model takes {expected}; expected the "
                "two of one model (max_length, num_mel_bins)"
            )
    if hasattr(model, "masked_spec_embed"):
        model.masked_spec_embed.requires_grad_(False)  # SpecAugment's, which is off
    return model.float(), processor


def _names_in(model: Any, config: Any) -> set[str]:
    prefix = "encoder." if config.model_type == "whisper" else ""
    return {prefix + name for name in model.state_dict()}


def _transformers() -> Any:
    """Transformers, which is an extra: this package imports without it."""
    try:
        return import_module("transformers")
    except ModuleNotFoundError as error:
        raise DSNetError("an hf encoder needs transformers: pip install 'dsnet_plugin[transformers]'") from error
