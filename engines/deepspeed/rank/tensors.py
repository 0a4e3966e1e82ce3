"""Tensors in files, read by flat range without reading the whole: safetensors and torch's own archives."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from slices import Parameter, Range, shard_of

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# a parameter's slices in a shard's file, by the suffix of their names: the weight and both moments
MOMENTS = ("", ".exp_avg", ".exp_avg_sq")


class TensorFile(Protocol):
    """A file with tensors by name."""

    def flat(self, name: str) -> torch.Tensor:
        """All elements of a tensor, flat, in the file's dtype: mapped, not read. Throws KeyError."""
        ...

    def names(self) -> Sequence[str]: ...


class Safetensors:
    """A safetensors file, mapped into memory."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        length = int.from_bytes(self._map[:8], "little")
        header = json.loads(self._map[8 : 8 + length])
        self._start = 8 + length
        self._entries = {name: entry for name, entry in header.items() if name != "__metadata__"}

    def names(self) -> Sequence[str]:
        return list(self._entries)

    def flat(self, name: str) -> torch.Tensor:
        entry = self._entries[name]
        dtype = DTYPES[entry["dtype"]]
        start, end = entry["data_offsets"]
        if start == end:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(self._map, dtype=dtype, count=(end - start) // dtype.itemsize, offset=self._start + start)


class Archive:
    """A file of torch.save, which is read as tensors and nothing else."""

    def __init__(self, path: str) -> None:
        try:
            self._tensors: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except RuntimeError:
            # the format before torch 1.6 cannot be mapped
            self._tensors = torch.load(path, map_location="cpu", weights_only=True)

    def names(self) -> Sequence[str]:
        return list(self._tensors)

    def flat(self, name: str) -> torch.Tensor:
        return self._tensors[name].reshape(-1)


class Base:
    """The base model: each parameter in one of its files."""

    def __init__(self, files: Sequence[str]) -> None:
        self._homes: dict[str, TensorFile] = {}
        for path in files:
            file: TensorFile = Archive(path) if Path(path).suffix == ".bin" else Safetensors(path)
            self._homes.update({name: file for name in file.names()})

    def read(self, parameter: Parameter, elements: Range) -> torch.Tensor:
        """Elements of a parameter as float32."""
        return self._homes[parameter.name].flat(parameter.name)[elements.start : elements.end].float()


class Checkpoint:
    """A checkpoint: each shard's rows of every parameter and of both moments, in a file for each shard."""

    def __init__(self, files: Sequence[str]) -> None:
        self._shards = [Safetensors(path) for path in files]

    def read(self, parameter: Parameter, elements: Range, moment: str) -> torch.Tensor:
        """Elements of a parameter, or of a moment of it, as float32."""
        parts = []
        for shard, file in enumerate(self._shards):
            owned = shard_of(parameter, len(self._shards), shard)
            part = owned.overlap(elements)
            if part.size > 0:
                flat = file.flat(parameter.name + moment)
                parts.append(flat[part.start - owned.start : part.end - owned.start])
        return torch.cat(parts) if parts else torch.empty(0)
