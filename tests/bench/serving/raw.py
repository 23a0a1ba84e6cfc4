"""The bare engine: what the same work costs without a server.

`python -m tests.bench.serving.raw` answers each line "case seconds" with the processor time per
image, in microseconds, of running batches of 8 that long.
"""

from __future__ import annotations

import sys
import time

import onnxruntime as ort

from tests.bench.serving.cases import Case, all_cases

BATCH = 8  # the engine's optimum on a processor


def sessions(cases: list[Case]) -> dict[str, ort.InferenceSession]:
    """Return a session of one thread per case, as the server has it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return {
        case.name: ort.InferenceSession(case.onnx, options, providers=["CPUExecutionProvider"])
        for case in cases
    }


def cost_us(session: ort.InferenceSession, case: Case, seconds: float) -> float:
    """Return the processor time per image; an encoded one is decoded each time."""
    fixed = None if case.datatype == "BYTES" else case.batch(BATCH)
    images, before, until = 0, time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        session.run(None, {case.input: case.batch(BATCH) if fixed is None else fixed})
        images += BATCH
    return (time.process_time() - before) / images * 1e6


def main() -> None:
    """Answer until standard input ends."""
    cases = {case.name: case for case in all_cases()}
    loaded = sessions(list(cases.values()))
    for name, case in cases.items():
        cost_us(loaded[name], case, 0.1)
    print("port 0", flush=True)
    for line in sys.stdin:
        name, _, seconds = line.rpartition(" ")
        print(cost_us(loaded[name], cases[name], float(seconds)), flush=True)


if __name__ == "__main__":
    main()
