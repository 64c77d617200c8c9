"""Values of the tables' types, from columns of any type; what cannot be one becomes null."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.tables import VECTOR, Column, DType
from components.shared.runtime.arrow import one_array
from components.shared.runtime.errors import InputError
from components.shared.runtime.number_text import numbers_in

_INTEGER = r"^[+-]?\d{1,19}(\.0*)?$"
_NUMBERS = pa.list_(pa.float32())
_LARGEST = str(np.iinfo(np.int64).max)  # 19 digits

_EXPECTED: dict[DType, str] = {
    "string": "UTF-8 text",
    "int64": "an integer of 64 bits",
    "float32": "a finite number",
    "list<string>": "a list of UTF-8 texts",
}


def expected(column: Column) -> str:
    """Return what the values of a column have to be."""
    if column.dtype == VECTOR:
        return f"a list of {column.width or 'finite'} numbers"
    return _EXPECTED[column.dtype]


@dataclass(frozen=True)
class Parsed:
    """A column's values in their type.

    Args:
        values: `(rows,)`, null where a value is missing or wrong.
        missing: `(rows,) bool`, where the source has no value.
    """

    values: pa.Array
    missing: pa.Array


def parse(values: pa.ChunkedArray, column: Column, separator: str) -> Parsed:
    """Convert a column to its type.

    Args:
        values: The column in any type.
        column: Its name and the type to convert to.
        separator: What separates the values of a list in text.

    Raises:
        InputError: If no value of the column's type can become one of that type, or the
            column is damaged.
    """
    try:
        array = plain(one_array(values))
        if column.dtype == "string":
            return _texts(array)
        if column.dtype == "list<string>":
            return _lists(array, separator)
        if column.dtype == VECTOR:
            return _vectors(array, separator, column.width)
        text, missing = _as_text(array) if is_text(array.type) else (array, pc.is_null(array))
        missing = pc.or_(missing, _blank(text) if is_text(text.type) else _nan(text))
        return Parsed(parse_numbers(text, column.arrow_type), missing)
    except pa.ArrowNotImplementedError:
        raise InputError(_wrong_type(one_array(values).type, column)) from None
    except pa.ArrowException as error:
        raise InputError(
            f"The column {column.name!r} is damaged ({str(error)[:200]}). Write the file again."
        ) from error


def plain(array: pa.Array) -> pa.Array:
    """Return an array without a dictionary.

    Raises:
        pa.ArrowException: If its lengths, or its dictionary's indices, are damaged.
    """
    array.validate()
    if not pa.types.is_dictionary(array.type):
        return array
    indices = array.indices
    if len(indices) and indices.null_count < len(indices):
        extent = pc.min_max(indices)
        if extent["min"].as_py() < 0 or extent["max"].as_py() >= len(array.dictionary):
            raise pa.ArrowIndexError("an index beyond the end of the dictionary")
    return array.dictionary_decode()


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are text, or bytes that may be text."""
    types = pa.types
    return any(
        is_kind(kind)
        for is_kind in (
            types.is_string, types.is_large_string, types.is_string_view, types.is_binary,
            types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary,
        )
    )  # fmt: skip


def utf8(array: pa.Array) -> pa.Array:
    """Convert text or bytes to `string`; what is not UTF-8 becomes null."""
    if not pa.types.is_string(array.type):
        array = unchecked(array)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([_decoded(value) for value in pc.cast(array, pa.binary()).to_pylist()],
                        pa.string())  # fmt: skip
    return array


def unchecked(array: pa.Array) -> pa.Array:
    """Convert text or bytes to `string` without checking that they are UTF-8."""
    if pa.types.is_large_string(array.type):  # a cast would check them
        array = pc.cast(array, pa.large_binary())
    elif pa.types.is_string_view(array.type):
        array = pc.cast(array, pa.binary_view())
    if not pa.types.is_binary(array.type):
        array = pc.cast(array, pa.binary())
    return array.view(pa.string())


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _as_text(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the text, null where it is missing or not UTF-8, and where it is missing."""
    return utf8(array), pc.is_null(array)


def _blank(text: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), ""), False)


def _nan(array: pa.Array) -> pa.Array:
    return pc.is_null(array, nan_is_null=True)


def _texts(array: pa.Array) -> Parsed:
    kind = array.type
    if is_text(kind):
        text, missing = _as_text(array)
    elif pa.types.is_nested(kind):
        raise pa.ArrowNotImplementedError("nested")
    else:
        missing = pc.is_null(array, nan_is_null=pa.types.is_floating(kind))
        text = pc.cast(array, pa.string())
    text = pc.utf8_trim_whitespace(text)
    missing = pc.or_(missing, _blank(text))
    return Parsed(pc.if_else(missing, None, text), missing)


def _lists(array: pa.Array, separator: str) -> Parsed:
    kind = array.type
    if is_text(kind):
        text, missing = _as_text(array)
        # Text without an element is an empty list.
        return Parsed(split_text(text, separator), missing)
    missing = pc.is_null(array)
    if pa.types.is_null(kind):
        return Parsed(pa.nulls(len(array), pa.list_(pa.string())), missing)
    return Parsed(_with_elements(_plain(array), trim=False), missing)


def _vectors(array: pa.Array, separator: str, width: int | None) -> Parsed:
    """Convert lists of numbers, or text that joins them, to lists of `float32`.

    Args:
        array: The lists; text may be in brackets.
        separator: What separates the numbers in text.
        width: How many numbers a list has to have; any number by default.
    """
    if is_text(array.type):
        text, missing = _as_text(array)
        lists = split_text(without_brackets(text), separator)
    else:
        missing = pc.is_null(array)
        lists = pa.nulls(len(array), _NUMBERS) if pa.types.is_null(array.type) else _plain(array)
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    missing = pc.or_(missing, pc.and_(pc.equal(lengths, 0), pc.is_valid(lists)))
    elements = plain(lists.flatten())
    numbers = parse_numbers(elements, pa.float32())
    wrong = pc.is_null(numbers).to_numpy(zero_copy_only=False)
    parent = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    damaged = pa.array(np.bincount(parent[wrong], minlength=len(lists)) > 0)
    if width is not None:
        damaged = pc.or_(damaged, pc.not_equal(lengths, width))
    mask = pc.or_(pc.or_(damaged, missing), pc.is_null(lists))
    return Parsed(pa.ListArray.from_arrays(_offsets(lists), numbers, mask=mask), missing)


def _plain(array: pa.Array) -> pa.Array:
    """Return lists of any Arrow type as `list`.

    Raises:
        pa.ArrowNotImplementedError: If they are no lists.
    """
    kind = array.type
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        # pyarrow 25's cast of a list view to a list gives an invalid array.
        return pa.array(array.to_pylist(), pa.list_(kind.value_type))
    if pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        return pc.cast(array, pa.list_(kind.value_type))
    if not pa.types.is_list(kind):
        raise pa.ArrowNotImplementedError("not a list")
    return array


def split_text(text: pa.Array, separator: str) -> pa.Array:
    """Split text into lists; spaces around elements, and empty elements, are left out.

    Args:
        text: `(rows,) string`.
        separator: What separates the elements.

    Returns:
        `(rows,)` lists of strings, empty where the text is blank; null where it is null.
    """
    return _with_elements(pc.split_pattern(text, separator), trim=True)


def without_brackets(text: pa.Array) -> pa.Array:
    """Return text without the brackets and spaces at its ends."""
    return pc.utf8_trim(text, "[]() \t")


def _with_elements(lists: pa.Array, trim: bool) -> pa.Array:
    """Return lists of strings without null elements; null if an element is not UTF-8.

    Args:
        lists: Lists of values that can be text.
        trim: Whether spaces around elements, and empty elements, are left out.
    """
    elements = plain(lists.flatten())
    parsed = _texts(elements)
    text = parsed.values if trim else pc.if_else(pc.is_null(elements), None, _untrimmed(elements))
    if not trim and not text.null_count:
        return pa.ListArray.from_arrays(_offsets(lists), text, mask=pc.is_null(lists))
    parent = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    wrong = pc.and_not(pc.is_null(parsed.values), parsed.missing).to_numpy(zero_copy_only=False)
    stays = pc.is_valid(text).to_numpy(zero_copy_only=False)
    lengths = np.bincount(parent[stays], minlength=len(lists))
    damaged = np.bincount(parent[wrong], minlength=len(lists)) > 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    mask = pc.or_(pc.is_null(lists), pa.array(damaged))
    return pa.ListArray.from_arrays(offsets, text.filter(pa.array(stays)), mask=mask)


def _untrimmed(elements: pa.Array) -> pa.Array:
    return utf8(elements) if is_text(elements.type) else pc.cast(elements, pa.string())


def _offsets(lists: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _wrong_type(kind: pa.DataType, column: Column) -> str:
    shown = str(kind)
    shown = shown if len(shown) <= 100 else f"{shown[:100]}…"
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return (
        f"The column {column.name!r} has the type {shown} in the file, which cannot become "
        f"{column.dtype}. "
        + (
            f"Set source.dtypes.{column.name} to list<string>, and use the column in a feature "
            "of lists; or convert it."
            if lists
            else "Convert it to a string, a number or a list of strings, or do not use it."
        )
    )


def parse_numbers(column: pa.ChunkedArray | pa.Array, dtype: pa.DataType) -> pa.Array:
    """Convert a column to numbers; invalid values become null.

    Args:
        column: Strings, numbers or booleans.
        dtype: `int64` or `float32`.

    Returns:
        `(rows,)` array of that type. A value is null if it is missing, not a
        number, not finite, or, for `int64`, not an integer of 64 bits.

    Raises:
        pa.ArrowNotImplementedError: If the column is of another type.
    """
    integer = pa.types.is_integer(dtype)
    array = one_array(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if integer and (pa.types.is_decimal(array.type) or pa.types.is_uint64(array.type)):
        array = pc.cast(array, pa.string())  # may exceed the range of int64
    if is_text(array.type):
        return _numbers_of_text(utf8(array), dtype)
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.int64())
    if pa.types.is_decimal(array.type):
        array = pc.cast(array, pa.float64())
    if pa.types.is_float16(array.type):
        array = pc.cast(array, pa.float32())
    types = pa.types
    numeric = (types.is_integer, types.is_floating, types.is_null)
    if not any(is_kind(array.type) for is_kind in numeric):
        raise pa.ArrowNotImplementedError(f"{array.type} is no number")
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_finite(array), array, None)
        if integer:
            whole = pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), 2.0**63))
            array = pc.if_else(whole, array, None)
    return _finite(array, dtype)


def _numbers_of_text(text: pa.Array, dtype: pa.DataType) -> pa.Array:
    if not pa.types.is_integer(dtype):
        return _finite(numbers_in(text), dtype)
    text = pc.utf8_trim_whitespace(text)
    array = pc.if_else(pc.match_substring_regex(text, _INTEGER), text, None)
    array = pc.utf8_ltrim(array, "+")  # which a cast does not accept
    array = pc.replace_substring_regex(array, r"\.0*$", "")
    digits = pc.utf8_ltrim(array, "-")
    wide = pc.equal(pc.binary_length(digits), len(_LARGEST))
    too_large = pc.and_(wide, pc.greater(digits, _LARGEST))
    return pc.cast(pc.if_else(too_large, None, array), dtype)


def _finite(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    if not pa.types.is_floating(dtype):
        return pc.cast(array, dtype)
    array = pc.cast(array, dtype, safe=False)
    return pc.if_else(pc.is_finite(array), array, None)
