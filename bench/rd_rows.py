"""The measurements of bench/rd.py, on disk as they come."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

#: What tells a row from every other: image, codec, setting, preset.
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Row:
    """One encode. preset and commit are empty for other codecs; psnr_db is at most PSNR_CAP."""

    image: str
    codec: str
    setting: str
    bytes: int
    bpp: float
    psnr_db: float
    seconds: float
    preset: str = ""
    commit: str = ""

    @property
    def key(self) -> Key:
        return self.image, self.codec, self.setting, self.preset


class Sheet:
    """Rows on disk, each written as soon as it is made.

    Raises ValueError, one line, for a file with other contents. A last line that was cut off is
    removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Key, Row] = {}
        header = [field.name for field in fields(Row)]
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        lines = list(csv.reader(io.StringIO(whole.decode(errors="replace"))))
        if lines and lines[0] != header:
            raise ValueError(f"'{path}' has other columns than {','.join(header)}; move it away")
        for number, line in enumerate(lines[1:], 2):
            try:
                image, codec, setting, size, bpp, quality, seconds, preset, commit = line
                numbers = int(size), float(bpp), float(quality), float(seconds)
            except ValueError:
                raise ValueError(f"line {number} of '{path}' is no row; remove it") from None
            row = Row(image, codec, setting, *numbers, preset, commit)
            self.rows[row.key] = row
        if len(whole) < len(text):
            path.write_bytes(whole)
        if not lines:
            self._append(header)

    def add(self, row: Row) -> None:
        self._append(astuple(row))
        self.rows[row.key] = row

    def _append(self, cells: Any) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)


def means(
    sheet: Sheet, images: list[str], codec: str, settings: list[str], preset: str = ""
) -> list[dict[str, Any]]:
    """Per setting that every image has a row of, the means over the images."""
    found = []
    for setting in settings:
        rows = [sheet.rows.get((image, codec, setting, preset)) for image in images]
        known = [row for row in rows if row is not None]
        if len(known) == len(images):
            mean = {
                name: statistics.mean(getattr(row, name) for row in known)
                for name in ("bpp", "psnr_db", "seconds")
            }
            found.append({"codec": codec, "setting": setting, "preset": preset, **mean})
    return found
