"""What a SQL call needs to be answered: the only thing that crosses from driver to executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kerasql.registry.preprocess import Preprocessor
from kerasql.registry.signature import Output, Signature, scores_of, sql_type

VARIANTS = ("value", "scores", "try", "try_scores")


@dataclass(frozen=True)
class OnGpu:
    """What is another in a plan where its rows are predicted on a GPU.

    addresses are the GPUs that a local driver has found, empty where Spark assigns them to tasks.
    """

    addresses: tuple[str, ...]
    engine: str
    artifacts: Mapping[str, str]
    network_bytes: int
    allowed: float | None
    batch_rows: int
    slice_rows: int


@dataclass(frozen=True)
class Plan:
    """How one SQL function answers: frozen, picklable, free of credentials.

    ref is the version (``digits@3``); variant one of VARIANTS; preprocess and outputs are in the
    order of the signature; columns are the names of the scalar columns that make up the one
    tabular input, empty where each argument is an input; artifacts are SHA-256 sums by role.
    precision is what the engine computes in, allowed how far its golden answer may be from Keras'
    (None: the promise for float32); batch_rows are predicted at once, slice_rows prepared at once;
    limits are the model server's (``server/front.py``). gpu is what a GPU takes instead, None where
    no executor has one.
    """

    ref: str
    variant: str
    signature: Signature
    preprocess: tuple[Preprocessor, ...]
    outputs: tuple[Output, ...]
    columns: tuple[str, ...]
    engine: str
    artifacts: Mapping[str, str]
    network_bytes: int = 0
    precision: str = "f32"
    allowed: float | None = None
    batch_rows: int = 32
    slice_rows: int = 64
    max_pixels: int = 89_478_485
    read_paths: bool = False
    limits: Mapping[str, int] = field(default_factory=lambda: {"memo_mb": 0})
    gpu: OnGpu | None = None

    def __hash__(self) -> int:
        """Mappings have none; what they say is in the artifacts' sums."""
        return hash((self.ref, self.variant, self.columns, *sorted(self.artifacts.items())))

    def on(self, device: str) -> Plan:
        """The same plan as a device takes it: ``cpu``, or the address of a GPU."""
        if device == "cpu" or self.gpu is None:
            return self
        facts = {name: value for name, value in vars(self.gpu).items() if name != "addresses"}
        return replace(self, **facts, gpu=None)

    @property
    def shipped(self) -> dict[str, str]:
        """The SHA-256 by role of every artifact that an executor may need."""
        return {**self.artifacts, **(self.gpu.artifacts if self.gpu else {})}

    @property
    def tries(self) -> bool:
        """Whether the answer carries the reason of a bad row: ``try_m(x)``."""
        return self.variant.startswith("try")

    @property
    def shown(self) -> tuple[Output, ...]:
        """The outputs as this variant shows them: plain numbers for ``m_scores(x)``."""
        if not self.variant.endswith("scores"):
            return self.outputs
        return tuple(scores_of(spec) for spec in self.signature.outputs)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the SQL arguments in their order."""
        return self.columns or tuple(spec.name for spec in self.signature.inputs)

    @property
    def returns(self) -> str:
        """The SQL type of the answer, as Spark's DDL."""
        types = [sql_type(s, o) for s, o in zip(self.signature.outputs, self.shown, strict=True)]
        answer = types[0]
        if len(types) > 1:
            names = [spec.name for spec in self.signature.outputs]
            fields = ", ".join(f"`{n}`: {t}" for n, t in zip(names, types, strict=True))
            answer = f"STRUCT<{fields}>"
        return f"STRUCT<value: {answer}, error: STRING>" if self.tries else answer
