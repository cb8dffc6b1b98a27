"""The recipe: the whole description of a run, validated, as a dataclass or a YAML file. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sensorium.errors import RecipeError, unknown_name

FUSION_NAMES = ("attention", "concat", "two_stream", "gated", "cross_attention", "bottleneck", "transformer", "tensor",
                "low_rank", "experts")
ENCODER_NAMES = {
    "text": ("transformer",),
    "image": ("resnet", "vgg"),
    "audio": ("logmel", "wavenet"),
    "table": ("features",),
    "video": ("frames", "r2plus1d"),
    "series": ("patches", "tcn"),
    "points": ("pointnet", "point_transformer"),
}


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values are validated, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataOptions(Section):
    """What the user decided about the columns; everything left out is inferred.

    Args:
        targets: columns to predict.
        inputs: the only columns that may be inputs; None for all.
        ignore: columns to leave out.
        kinds: column → text, image, audio, video, series, points, number, category or date.
        modalities: new modality → the table columns it groups.
        tasks: target → classify or regress.
        weights: target → weight in the joint loss.
        group: the column whose equal values stay together when rows are split.
        only: the only modalities that are inputs, by name; None for all.
        settings: modality → settings of its kind (an image's height, width, channels, augmentation; a sound's rate …).
        allow_outside: read also media files that lie outside the table's folder.
    """

    targets: tuple[str, ...] = ()
    inputs: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    kinds: dict[str, str] = {}
    modalities: dict[str, tuple[str, ...]] = {}
    tasks: dict[str, str] = {}
    weights: dict[str, float] = {}
    group: str | None = None
    only: tuple[str, ...] | None = None
    settings: dict[str, dict[str, Any]] = {}
    allow_outside: bool = False


class EncoderOptions(Section):
    """One modality's encoder; in YAML its name alone will do.

    Args:
        name: a name of sensorium.encoders.ENCODERS for the modality's kind, trained from scratch; or a pretrained
            model: a folder, or a name on the Hugging Face hub.
        tune: what is trained of a pretrained model: nothing, all of it at lower rates, or low-rank adapters beside it.
        factor: finetune: the learning rate of its last layer over that of the rest of the model.
        decay: finetune: each layer's learning rate over that of the layer above it.
        rank: lora: the rank of the adapters.
        tokens: the most tokens a cell of a pretrained model; more are averaged. None: as many as it gives.
        weights: a checkpoint (.safetensors, .pth) for an encoder of our own that reads one (vgg).
    """

    name: str = Field(min_length=1)
    tune: Literal["frozen", "finetune", "lora"] = "frozen"
    factor: float = Field(default=0.02, gt=0)
    decay: float = Field(default=0.8, gt=0, le=1)
    rank: int = Field(default=8, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    weights: str | None = None


class ModelOptions(Section):
    """What the model is made of.

    Args:
        width: the common width of all tokens.
        fusion: a name of sensorium.fusion.FUSIONS.
        compare: train with each of these fusions and keep the best by validation; empty: only with `fusion`.
        encoders: modality → its encoder; left out: the first of its kind, trained from scratch.
        impute: learn to predict an absent modality's tokens from the present ones; kept only for the patterns of
            missing modalities in which held-out rows say that it helps.
    """

    width: int = Field(default=96, ge=16, multiple_of=16)
    fusion: str = "attention"
    compare: tuple[str, ...] = ()
    encoders: dict[str, EncoderOptions] = {}
    impute: bool = False

    @field_validator("encoders", mode="before")
    @classmethod
    def _names_alone(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: {"name": one} if isinstance(one, str) else one for name, one in given.items()}

    @field_validator("fusion", "compare")
    @classmethod
    def _known_fusions(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        names = (given,) if isinstance(given, str) else given
        for name in names:
            if name not in FUSION_NAMES:
                raise ValueError(str(unknown_name("fusion", name, list(FUSION_NAMES))))
        if len(set(names)) < len(names):
            raise ValueError("each fusion can be compared once")
        return given


class ContrastOptions(Section):
    """The objective that makes modalities of one row resemble each other more than those of other rows.

    Args:
        weight: its factor in the joint loss.
        loss: infonce (CLIP) or siglip.
        mode: what is contrasted in a step: subsets (one random subset of the modalities with a disjoint one), pairs
            (every two modalities) or anchor (one modality with each other one).
        anchor: the modality of mode anchor; None: the first text modality, else the first.
        width: of the embeddings; None: the common width of the model.
        temperature: what similarities are divided by at first (infonce); learned.
        same_label: whether rows of one class still count as different; else they are no negatives of each other. Rows
            that share a text or a file never are.
    """

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    loss: Literal["infonce", "siglip"] = "infonce"
    mode: Literal["subsets", "pairs", "anchor"] = "subsets"
    anchor: str | None = None
    width: int | None = Field(default=None, ge=2)
    temperature: float = Field(default=0.07, ge=0.01, le=1)
    same_label: bool = False


class CorrelateOptions(Section):
    """The objective that makes what modalities say about one row correlate: deep CCA.

    Args:
        weight: its factor in the joint loss.
        loss: cca (its negative total correlation; needs batches larger than the components), eckart_young (for small
            batches too), or auto: cca where a batch has ten rows for each component.
        components: canonical components.
        ridge: added to the variances (cca).
    """

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    loss: Literal["auto", "cca", "eckart_young"] = "auto"
    components: int = Field(default=32, ge=1)
    ridge: float = Field(default=1e-3, ge=0)


class CaptionOptions(Section):
    """The objective that learns to write a text column from the other modalities.

    Args:
        weight: its factor in the joint loss.
        to: the text modality that is written, and never read for it; None: the only one.
        layers: of the decoder.
        vocabulary: the most tokens its tokenizer may learn.
        max_tokens: of a text, longer ones are cut; None: the 99th percentile of the training texts, at most 256.
        label_smoothing: share of the probability that is spread over all words in training, in 0…1.
    """

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    to: str | None = None
    layers: int = Field(default=2, ge=1)
    vocabulary: int = Field(default=4000, ge=300)
    max_tokens: int | None = Field(default=None, ge=1, le=1024)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)


class PaintOptions(Section):
    """The objective that learns to make pictures of a column from the other modalities. A run with it goes to its end
    and keeps the last step, because no loss says how good pictures are.

    Args:
        weight: its factor in the joint loss.
        to: the image modality that is made, and never read for it; None: the only one.
        method: flow (flow matching) or gan (a generator against a matching-aware discriminator).
        size: pixels of a side; None: the largest of 32, 64 and 128 that is at most the column's shorter side.
        channels: of the widest layer of a network, relative to its default.
        learning_rate: of generator and discriminator, relative to that of the rest of the model.
    """

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    to: str | None = None
    method: Literal["flow", "gan"] = "flow"
    size: Literal[32, 64, 128] | None = None
    channels: float = Field(default=1.0, gt=0, le=8)
    learning_rate: float = Field(default=1.0, gt=0)


class AnswerOptions(Section):
    """The objective that answers a question about the other modalities.

    Args:
        question: the modalities that ask, text or sound; one of them must be there in a row that is answered. A list,
            or question+spoken. None: the text of that name, or the only one.
        to: a text modality to write the answers of, word by word; None: the answers are the classes of the targets.
        weight: of answers that are written, in the joint loss.
        layers, vocabulary, max_tokens, label_smoothing: of answers that are written, as for captions.
    """

    question: tuple[str, ...] = ()
    to: str | None = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    layers: int = Field(default=2, ge=1)
    vocabulary: int = Field(default=4000, ge=300)
    max_tokens: int | None = Field(default=None, ge=1, le=1024)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)

    @field_validator("question", mode="before")
    @classmethod
    def _one_alone(cls, given: Any) -> Any:
        return tuple(name.strip() for name in given.split("+")) if isinstance(given, str) else given


class ObjectiveOptions(Section):
    """Objectives besides those that predict the targets; in YAML a list of names will do. They need no labels.

    Args:
        contrast: contrastive alignment; None: without.
        correlate: alignment by correlation; None: without.
        caption: writing a text column from the other modalities; None: without.
        paint: making pictures from the other modalities; None: without.
        answer: answering questions; None: without.
    """

    contrast: ContrastOptions | None = None
    correlate: CorrelateOptions | None = None
    caption: CaptionOptions | None = None
    paint: PaintOptions | None = None
    answer: AnswerOptions | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are asked for."""
        return tuple(name for name in OBJECTIVE_NAMES if getattr(self, name) is not None)

    @property
    def aligners(self) -> tuple[str, ...]:
        """Those that align modalities."""
        return tuple(name for name in ("contrast", "correlate") if getattr(self, name) is not None)

    @property
    def makers(self) -> tuple[str, ...]:
        """Those that make a modality from the others."""
        written = () if self.answer is None or self.answer.to is None else ("answer",)
        return tuple(name for name in ("caption", "paint") if getattr(self, name) is not None) + written


OBJECTIVE_NAMES = tuple(ObjectiveOptions.model_fields)


class TrainingOptions(Section):
    """How the model is trained.

    Args:
        epochs: passes over the training rows; None: as many as make about 50,000 samples, 10 to 60.
        minutes: a time budget that sets the epochs instead, refit included.
        batch_size: rows a step.
        learning_rate: AdamW's highest, after warm-up; decays to 0 along a cosine.
        weight_decay: AdamW's, on matrices and kernels only.
        warmup: share of the steps in which the learning rate rises.
        clip: the largest norm of the joint gradient.
        label_smoothing: of classify objectives.
        balance: whether rare classes count as much as frequent ones (logit adjustment).
        p_full: the probability that a row keeps all its modalities in a step; otherwise a random subset.
        singles: whether each step also scores one random modality of every row on its own (unimodal auxiliary losses).
        expect: modality → the share of rows that will lack it in use, in 0…1; replaces p_full, and the validation loss
            is that of rows which lack as much.
        noise: modality → the worst damage expected in use, in 0…1, of its kind's own sort (0.5: a sound at 0 dB); half
            of the cells of a step are damaged up to that.
        weighting: how objectives are weighed in the joint loss: fixed (their own weights), or uncertainty (learned
            log-variances beside).
        ogm_ge: strength α of gradient modulation, which slows a modality that learns faster than the others; 0 = off.
        patience: epochs without a better validation loss before training stops; 0 = never.
        refit: train once more on training and validation rows for the chosen number of steps; auto: up to 20,000 rows,
            and not where something is generated, which takes long.
        alpha: the share of rows whose confidence set, or interval, may miss the truth.
        seed: of every draw.
        workers: processes that decode media; None: one per core, at most 8.
        memory_gb: decoded media kept in memory; None: a quarter of what is free.
    """

    epochs: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    balance: bool = False
    p_full: float = Field(default=0.5, ge=0, le=1)
    singles: bool = True
    expect: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    noise: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    weighting: Literal["fixed", "uncertainty"] = "fixed"
    ogm_ge: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    patience: int = Field(default=15, ge=0)
    refit: Literal["auto", "always", "never"] = "auto"
    alpha: float = Field(default=0.1, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    workers: int | None = Field(default=None, ge=0)
    memory_gb: float | None = Field(default=None, gt=0)


class TransferOptions(Section):
    """What the model takes over from other runs.

    Args:
        teacher: a model folder whose answers the model learns to give (objective distil), also on rows without a label.
        temperature: what the logits of teacher and model are divided by in objective distil; higher: the order of the
            wrong classes counts more.
        weight: of objective distil in the joint loss.
        init: a model folder to begin with: what it has in common with this model is taken over.
        freeze: a modality, encoders, fusion or all (linear probe) → the first epochs in which it is not trained; None:
            it never is.
        against_scratch: also train without teacher, init and freeze on the same rows, and say the difference.
    """

    teacher: str | None = None
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    init: str | None = None
    freeze: dict[str, Annotated[int, Field(ge=1)] | None] = {}
    against_scratch: bool = False

    @property
    def used(self) -> bool:
        """Whether anything is taken over."""
        return self.teacher is not None or self.init is not None or bool(self.freeze)


class Recipe(Section):
    """A run: the table, what its columns mean, the model and the training.

    Args:
        source: the table the model was trained on.
        data: see DataOptions.
        model: see ModelOptions.
        objectives: see ObjectiveOptions.
        training: see TrainingOptions.
        transfer: see TransferOptions.

    Example:
        >>> Recipe.from_yaml("model: {fusion: concat}").model.fusion
        'concat'
    """

    source: str | None = None
    data: DataOptions = DataOptions()
    model: ModelOptions = ModelOptions()
    objectives: ObjectiveOptions = ObjectiveOptions()
    training: TrainingOptions = TrainingOptions()
    transfer: TransferOptions = TransferOptions()

    @field_validator("objectives", mode="before")
    @classmethod
    def _objectives_by_name(cls, given: Any) -> Any:
        if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
            given = {name: {} for name in given}
        if isinstance(given, dict):
            for name in given:
                if name not in OBJECTIVE_NAMES:
                    raise ValueError(str(unknown_name("objective", str(name), list(OBJECTIVE_NAMES))))
        return given

    def with_texts(self, data: DataOptions) -> DataOptions:
        """The data options in which what is to be written is text, also where its texts are few and short."""
        written = [own.to for own in (self.objectives.caption, self.objectives.answer) if own is not None and own.to]
        return data.model_copy(update={"kinds": {**dict.fromkeys(written, "text"), **data.kinds}})

    @classmethod
    def from_yaml(cls, text: str, *, name: str = "recipe") -> Recipe:
        """A recipe from YAML text. Raises RecipeError naming the field."""
        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"{name} is not YAML: {str(error).splitlines()[0]}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise RecipeError(f"{name}: expected sections data, model, training; found {str(loaded)[:40]!r}")
        loaded = loaded or {}
        if isinstance(loaded.get("objectives"), dict):  # a name with nothing behind it means its defaults
            loaded["objectives"] = {key: {} if own is None else own for key, own in loaded["objectives"].items()}
        return cls.checked(loaded, name=name)

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """A recipe from a YAML file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {str(path)!r}: {type(error).__name__}") from error
        return cls.from_yaml(text, name=str(path))

    @classmethod
    def checked(cls, values: dict[str, Any], *, name: str = "recipe") -> Recipe:
        """A recipe from plain values. Raises RecipeError naming the first wrong field."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "extra_forbidden":
                *section, unknown = map(str, first["loc"])
                what = f"field of {'.'.join(section)}" if section else "section"
                choices = list(_part(section).model_fields)
                raise RecipeError(f"{name}: {unknown_name(what, unknown, choices)}") from error
            field = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise RecipeError(f"{name}: {field}: {message} (found {str(first['input'])[:60]!r})") from error

    def to_yaml(self) -> str:
        """The recipe as YAML, every value written out."""
        plain = self.model_dump(mode="json")
        plain["objectives"] = {name: own for name, own in plain["objectives"].items() if own is not None}
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))

    def changed(self, section: str, **values: Any) -> Recipe:
        """A copy with some values of one section replaced and checked again; None values are left as they are."""
        plain = self.model_dump(mode="json")
        plain[section].update({key: value for key, value in values.items() if value is not None})
        return Recipe.checked(plain)


def _part(path: list[str]) -> type[Section]:
    """The class of a recipe's part: ["objectives", "contrast"], ["model", "encoders", a modality] …"""
    match path:
        case []:
            return Recipe
        case ["objectives", name]:  # its options, or None
            part: type[Section] = get_args(ObjectiveOptions.model_fields[name].annotation)[0]
            return part
        case ["model", "encoders", _]:
            return EncoderOptions
    return type(Recipe.model_fields[path[0]].default)
