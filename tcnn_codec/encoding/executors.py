"""Who does the jobs of chunks: this process, one after the other.

Another executor is a class with the same method; a job and its result can be pickled, and nothing
else passes between who asks for a job and who does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from tcnn_codec.encoding.jobs import ChunkJob, ChunkResult, Tools, do

#: Called with (number of the chunk, steps done on it, PSNR in dB).
JobReport = Callable[[int, int, float], None]


class Executor(Protocol):
    def run(self, jobs: Iterable[ChunkJob], report: JobReport) -> Iterator[ChunkResult]:
        """The results in the order of the jobs.

        Takes a job only when it can be begun, so that no more chunks are held than are worked on.
        """


class InThisProcess:
    """An Executor that does one job after the other with the tools of this process."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, jobs: Iterable[ChunkJob], report: JobReport) -> Iterator[ChunkResult]:
        for job in jobs:
            index = job.chunk.index
            yield do(job, self._tools, lambda step, psnr_db: report(index, step, psnr_db))  # noqa: B023
            del job  # before the next chunk is read
