"""What may be said beside the rows, a model of it for every verb: the body of a JSON request, the query of a form."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sensorium.serving.calls import Ask, Call, Embed, Explain, Generate, Predict, Search
from sensorium.serving.refusal import Refusal

LARGEST_SEED = 2**63 - 1
LONGEST = 1000
Modalities = Annotated[list[str] | None, Field(description="Read only these; all that are there where absent.",
                                               min_length=1, max_length=256)]

Name = Annotated[str | None, Field(max_length=LONGEST)]


class Options(BaseModel):
    """What every verb may be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    modalities: Modalities = None

    @property
    def kept(self) -> tuple[str, ...] | None:
        """The modalities, as a call holds them."""
        return None if self.modalities is None else tuple(dict.fromkeys(self.modalities))


class PredictOptions(Options):
    """Of `/predict`."""

    explain: bool = Field(False, description="Add what each modality contributed: exact Shapley values.")

    def call(self, rows: list[dict[str, Any]]) -> Call:
        """The call about these rows."""
        return Predict(rows, self.kept, self.explain)


class EmbedOptions(Options):
    """Of `/embed`."""

    def call(self, rows: list[dict[str, Any]]) -> Call:
        """The call about these rows."""
        return Embed(rows, self.kept)


class ExplainOptions(Options):
    """Of `/explain`."""

    target: Name = Field(None, description="The target that is explained; the first where absent.")
    class_: Name = Field(None, alias="class", description="The class that is explained; each row's answered one where "
                                                          "absent.")

    def call(self, rows: list[dict[str, Any]]) -> Call:
        """The call about these rows."""
        return Explain(rows, self.target, self.class_, self.kept)


class SearchOptions(Options):
    """Of `/search`."""

    k: int = Field(10, ge=1, description="How many results.")
    where: str | None = Field(None, max_length=2000, description="Which rows of the index: \"year > 2020\".")
    to: Name = Field(None, description="The modality that is searched; whole samples where absent.")

    def call(self, rows: list[dict[str, Any]]) -> Call:
        """The call about this row."""
        return Search(one_row(rows), self.k, self.where, self.to, self.kept)


class GenerateOptions(Options):
    """Of `/generate`."""

    to: Name = Field(None, description="The modality that is made; the only one where absent.")
    n: int = Field(1, ge=1, description="How many.")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="The same seed makes the same pictures.")
    guidance: float | None = Field(None, gt=0, le=100, description="Pictures: how closely they follow what they are "
                                                                   "made from.")
    beams: int = Field(4, ge=1, le=64, description="Texts: how many the search for the most probable ones keeps.")

    def call(self, rows: list[dict[str, Any]]) -> Call:
        """The call about this row."""
        return Generate(one_row(rows), self.to, self.n, self.seed, self.guidance, self.beams, self.kept)


class AskOptions(Options):
    """Of `/ask`."""

    target: Name = Field(None, description="Which target answers; the answer in words, or the first target, where "
                                           "absent.")
    explain: bool = Field(True, description="Add what each modality contributed.")

    def call(self, rows: list[dict[str, Any]], question: str | bytes) -> Call:
        """The call about this row."""
        return Ask(question, one_row(rows), self.target, self.explain, self.kept)


RowOptions = PredictOptions | ExplainOptions | EmbedOptions | SearchOptions | GenerateOptions
AnyOptions = RowOptions | AskOptions
OPTIONS: dict[str, type[AnyOptions]] = {
    "predict": PredictOptions, "explain": ExplainOptions, "embed": EmbedOptions, "search": SearchOptions,
    "generate": GenerateOptions, "ask": AskOptions,
}
MANY = frozenset({"predict", "explain", "embed"})
"""Verbs about several rows; the others are about one."""


def one_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The only row."""
    if len(rows) != 1:
        raise Refusal(422, f"given: one row is expected, found {len(rows)}")
    return rows[0]


def of_json(verb: str, given: dict[str, Any]) -> AnyOptions:
    """Options of a JSON body."""
    try:
        return OPTIONS[verb].model_validate(given, strict=True)
    except ValidationError as error:
        raise Refusal(422, _told(error)) from error


def of_query(verb: str, query: list[tuple[str, str]]) -> AnyOptions:
    """Options of a query: `modalities=a,b&explain=true`."""
    given: dict[str, Any] = {}
    for name, value in query:
        if name in given:
            raise Refusal(422, f"{name}: given twice")
        given[name] = [word.strip() for word in value.split(",")] if name == "modalities" else value
    try:
        return OPTIONS[verb].model_validate(given)
    except ValidationError as error:
        raise Refusal(422, _told(error)) from error


def _told(error: ValidationError) -> str:
    """The first mistake in one line, without what was given."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part)[:60] for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    what = "unknown option" if first["type"] == "extra_forbidden" else first["msg"][:1].lower() + first["msg"][1:]
    return f"{where}: {what}{more}"
