"""Which rows a condition keeps: one SQL expression over the columns, by DuckDB, which sees nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sensorium.errors import DataError, SensoriumError, unknown_name
from sensorium.retrieval.exact import Bools

MOST_CHARACTERS = 10_000
SECONDS = 10.0
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False, "python_enable_replacements": False, "memory_limit": "1GB", "threads": 1,
    "autoload_known_extensions": False, "autoinstall_known_extensions": False, "max_temp_directory_size": "0GB"}

FUNCTIONS = frozenset({
    "abs", "array_contains", "array_extract", "ceil", "ceiling", "coalesce", "concat", "contains", "current_date",
    "damerau_levenshtein", "date_diff", "datediff", "date_part", "date_trunc", "datepart", "datetrunc", "day",
    "dayofweek", "dayofyear", "ends_with", "even", "exp", "extract", "floor", "get_current_timestamp", "greatest",
    "hamming", "hour", "ifnull", "ilike_escape", "instr", "isfinite", "isinf", "isnan", "isodow", "jaccard",
    "jaro_similarity", "jaro_winkler_similarity", "lcase", "least", "left", "len", "length", "levenshtein",
    "like_escape", "list_contains", "list_element", "list_extract", "list_has", "list_has_all", "list_has_any",
    "list_position", "list_value", "ln", "log", "log10", "log2", "lower", "ltrim", "make_date", "make_timestamp",
    "millisecond", "minute", "month", "monthname", "nfc_normalize", "not_ilike_escape", "not_like_escape", "now",
    "nullif", "position", "pow", "power", "prefix", "quarter", "regexp_extract", "regexp_full_match", "regexp_matches",
    "replace", "reverse", "right", "round", "row", "rtrim", "second", "sign", "split_part", "sqrt", "starts_with",
    "strftime", "strip_accents", "strlen", "strpos", "strptime", "struct_extract", "substr", "substring", "suffix",
    "to_centuries", "to_days", "to_decades", "to_hours", "to_microseconds", "to_milliseconds", "to_minutes",
    "to_months", "to_quarters", "to_seconds", "to_weeks", "to_years", "today", "trim", "trunc", "try_strptime",
    "ucase", "upper", "week", "weekday", "year",
})
"""What a condition may call: nothing that reads anything else, or makes much out of little."""


def matching(
    expression: str, columns: Sequence[str], num_rows: int, read: Callable[[str], Any], *, seconds: float = SECONDS,
) -> Bools:
    """(row,) for which rows the expression is true; for null it is not.

    Args:
        expression: as after WHERE: `year > 2020 AND ward IN ('east', 'west')`; columns of odd names in double quotes.
        columns: that it may name, in any case.
        num_rows: rows.
        read: a column's name → its Arrow array of all rows.
        seconds: after which it is stopped.

    Raises:
        DataError: it is not one expression, asks for more than the rows themselves, or fails on them.
        RecipeError: an unknown column.

    Example:
        >>> import pyarrow as pa
        >>> year = pa.chunked_array([[1999, 2021, None]])
        >>> matching("year > 2020", ["year"], 3, lambda name: year).tolist()
        [False, True, False]
    """
    import pyarrow as pa

    try:
        import duckdb
    except ImportError as error:
        raise SensoriumError("--where needs duckdb: pip install 'sensorium[search]'") from error
    if not expression.strip() or len(expression) > MOST_CHARACTERS:
        raise DataError(f"where: expected an expression of at most {MOST_CHARACTERS:,} characters, as "
                        f"'year > 2020'; found {len(expression):,}")
    with duckdb.connect(":memory:", config=SETTINGS) as connection:
        connection.execute("SET lock_configuration = true")
        tree = _parsed(connection, expression)
        named = sorted({name for names in _columns_of(tree) if (name := _matched(names, columns)) is not None})
        place = "position"
        while place.lower() in {name.lower() for name in columns}:
            place += "_"
        arrays = {place: pa.array(np.arange(num_rows))} | {name: read(name) for name in named}
        connection.register("rows", pa.table(arrays))
        watch = threading.Timer(seconds, connection.interrupt)
        watch.start()
        try:
            found = connection.execute(f"SELECT {place} FROM rows WHERE ({expression}\n)").fetchnumpy()[place]
        except duckdb.InterruptException as error:
            raise DataError(f"where {_short(expression)}: stopped after {seconds:g} s") from error
        except duckdb.Error as error:
            unknown = next((names[-1] for names in _columns_of(tree) if _matched(names, columns) is None), None)
            if unknown is not None and "not found" in str(error):
                raise unknown_name("column", unknown, list(columns)) from error
            raise DataError(f"where {_short(expression)}: {_reason(error)}") from error
        finally:
            watch.cancel()
    mask = np.zeros(num_rows, dtype=bool)
    mask[np.asarray(found, dtype=np.int64)] = True
    return mask


def _parsed(connection: Any, expression: str) -> Any:
    """The syntax tree of the condition. Raises DataError where it is more than one expression."""
    import duckdb

    statement = f"SELECT 1 FROM rows WHERE ({expression}\n)"
    try:
        parsed = json.loads(connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()[0][0])
    except duckdb.Error as error:
        raise DataError(f"where {_short(expression)}: {_reason(error)}") from error
    if parsed.get("error"):
        raise DataError(f"where {_short(expression)}: expected one expression, as \"year > 2020\"; "
                        f"{_first(str(parsed.get('error_message')))}")
    statements = parsed["statements"]
    node = statements[0]["node"]
    plain = len(statements) == 1 and node.get("type") == "SELECT_NODE" and not node.get("modifiers") and not node.get(
        "group_expressions") and node.get("from_table", {}).get("table_name") == "rows" and all(
        node.get(name) is None for name in ("having", "qualify", "sample"))
    if not plain:
        raise DataError(f"where {_short(expression)}: expected one expression, as \"year > 2020\"")
    if any(one.get("class") == "SUBQUERY" for one in _nodes(node)):
        raise DataError(f"where {_short(expression)}: an expression over the columns may not select from anything "
                        f"else")
    for one in _nodes(node):
        if one.get("class") == "FUNCTION" and not one.get("is_operator") and one["function_name"] not in FUNCTIONS:
            raise DataError(f"where {_short(expression)}: {one['function_name']} cannot be used here; functions of "
                            f"texts, dates and numbers can: lower, contains, regexp_matches, year, round …")
    return node["where_clause"]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in a tree."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _columns_of(tree: Any) -> list[list[str]]:
    return [node["column_names"] for node in _nodes(tree) if node.get("class") == "COLUMN_REF"]


def _matched(names: list[str], columns: Sequence[str]) -> str | None:
    """The column that a reference names: `year`, `rows.year`, or a field of it; None where there is none."""
    parts = names[1:] if len(names) > 1 and names[0].lower() == "rows" else names
    if parts[0] in columns:
        return parts[0]
    return next((column for column in columns if column.lower() == parts[0].lower()), None)


def _reason(error: Exception) -> str:
    """What DuckDB says, in one line."""
    first = _first(str(error))
    head, sign, rest = first.partition("Error: ")
    return rest if sign and len(head) < 30 else first


def _first(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "it fails"


def _short(expression: str) -> str:
    shown = " ".join(expression.split())
    return repr(shown if len(shown) <= 80 else shown[:79] + "…")
