"""The pure parts of the rank's program."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4] / "engines" / "deepspeed" / "rank"))

import torch  # noqa: E402

from dropout import bits_at, drawn  # noqa: E402
from loss_scale import INITIAL, LEAST, WINDOW, LossScale  # noqa: E402
from packing import Row, lines_of, pack  # noqa: E402
from settings import settings_of  # noqa: E402
from slices import Parameter, Range, hosted_shards, partition_of, pieces, shard_of  # noqa: E402
from tensors import Archive, Base, Checkpoint, Safetensors  # noqa: E402

PARAMETERS = [Parameter("wide", (7, 5)), Parameter("short", (2, 3)), Parameter("vector", (11,)), Parameter("one", (1,))]


class Slices(unittest.TestCase):
    def test_pieces_cover_every_element_once(self) -> None:
        for shards, ranks in [(1, 1), (4, 2), (4, 3), (8, 5), (3, 3), (8, 8)]:
            owned = [[0] * parameter.count for parameter in PARAMETERS]
            for piece in pieces(PARAMETERS, shards, ranks):
                parameter = PARAMETERS[piece.parameter]
                self.assertGreater(piece.elements.size, 0)
                self.assertEqual(piece.elements.overlap(partition_of(parameter.count, ranks, piece.owner)), piece.elements)
                self.assertEqual(piece.elements.overlap(shard_of(parameter, shards, piece.shard)), piece.elements)
                self.assertIn(piece.shard, hosted_shards(shards, ranks, piece.host))
                for element in range(piece.elements.start, piece.elements.end):
                    owned[piece.parameter][element] += 1
            self.assertEqual({count for counts in owned for count in counts}, {1}, (shards, ranks))

    def test_a_shard_gets_its_pieces_in_the_order_of_elements(self) -> None:
        at: dict[tuple[int, int], int] = {}
        for piece in pieces(PARAMETERS, 3, 8):
            key = (piece.parameter, piece.shard)
            self.assertEqual(at.get(key, shard_of(PARAMETERS[piece.parameter], 3, piece.shard).start), piece.elements.start)
            at[key] = piece.elements.end

    def test_partitions_have_no_padding(self) -> None:
        self.assertEqual([partition_of(7, 3, rank) for rank in range(3)], [Range(0, 3), Range(3, 6), Range(6, 7)])
        self.assertEqual([partition_of(1, 3, rank).size for rank in range(3)], [1, 0, 0])

    def test_shards_are_cut_as_in_typescript(self) -> None:
        self.assertEqual(
            [shard_of(PARAMETERS[0], 4, shard) for shard in range(4)], [Range(0, 5), Range(5, 15), Range(15, 25), Range(25, 35)]
        )
        self.assertEqual([[*hosted_shards(4, 3, rank)] for rank in range(3)], [[0], [1], [2, 3]])


class Packing(unittest.TestCase):
    def test_rows_share_lines_no_longer_than_the_longest(self) -> None:
        self.assertEqual(lines_of([3, 9, 4, 2]), [[1], [2, 0, 3]])
        self.assertEqual(lines_of([5]), [[0]])

    def test_a_row_sees_itself_up_to_each_token(self) -> None:
        batch = pack([Row([7, 8, 9], [-100, -100, 9]), Row([4, 5], [-100, 5]), Row([1, 2, 3, 4, 5], [-100, 2, -100, 4, -100])])
        self.assertEqual(batch.ids.tolist(), [[1, 2, 3, 4, 5], [7, 8, 9, 4, 5]])
        self.assertEqual(batch.positions.tolist(), [[0, 1, 2, 3, 4], [0, 1, 2, 0, 1]])
        self.assertEqual(
            batch.mask[1, 0].eq(0).int().tolist(), [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
        )
        self.assertEqual(batch.scored.tolist(), [0, 2, 6, 8])
        self.assertEqual(batch.targets.tolist(), [2, 4, 9, 5])
        self.assertEqual([(place.line, place.start, place.end) for place in batch.places], [(0, 0, 5), (1, 0, 3), (1, 3, 5)])

    def test_padding_sees_something(self) -> None:
        batch = pack([Row([7, 8, 9], [0, 0, 0]), Row([4, 5], [0, 0])])
        self.assertTrue(batch.mask.eq(0).any(dim=-1).all())


def write(path: str, tensors: dict[str, torch.Tensor]) -> None:
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    header, data = {}, b""
    for name, tensor in tensors.items():
        numbers = bytes(tensor.contiguous().view(torch.uint8).flatten().tolist())
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(numbers)]}
        data += numbers
    text = json.dumps(header).encode()
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + data)


class Tensors(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = lambda name: os.path.join(directory.name, name)

    def test_a_base_is_read_from_every_dtype_and_format(self) -> None:
        values = torch.arange(35.0).reshape(7, 5)
        write(self.path("a.safetensors"), {"half": values.half(), "brain": values.bfloat16(), "empty": torch.empty(0)})
        torch.save({"archived": values}, self.path("b.bin"))
        torch.save({"old": values}, self.path("c.bin"), _use_new_zipfile_serialization=False)
        base = Base([self.path("a.safetensors"), self.path("b.bin"), self.path("c.bin")])
        for name in ("half", "brain", "archived", "old"):
            read = base.read(Parameter(name, (7, 5)), Range(4, 9))
            self.assertEqual(read.tolist(), [4, 5, 6, 7, 8])
            self.assertEqual(read.dtype, torch.float32)
        self.assertEqual(Safetensors(self.path("a.safetensors")).flat("empty").tolist(), [])
        self.assertEqual(Archive(self.path("b.bin")).names(), ["archived"])

    def test_a_checkpoint_of_any_number_of_shards_is_read_by_elements(self) -> None:
        parameter = PARAMETERS[0]
        values = torch.arange(35.0)
        files = []
        for shard in range(3):
            owned = shard_of(parameter, 3, shard)
            files.append(self.path(f"{shard}.safetensors"))
            write(files[-1], {"wide": values[owned.start : owned.end], "wide.exp_avg": -values[owned.start : owned.end]})
        checkpoint = Checkpoint(files)
        for rank in range(4):
            owned = partition_of(35, 4, rank)
            self.assertEqual(checkpoint.read(parameter, owned, "").tolist(), values[owned.start : owned.end].tolist())
            self.assertEqual(checkpoint.read(parameter, owned, ".exp_avg").tolist(), (-values[owned.start : owned.end]).tolist())
        self.assertEqual(checkpoint.read(parameter, Range(35, 35), "").tolist(), [])


class Scaling(unittest.TestCase):
    def test_only_fp16_is_scaled(self) -> None:
        for precision in ("fp32", "bf16"):
            scale = LossScale(precision, None)
            scale.grow(WINDOW)
            self.assertEqual((scale.value, scale.recorded, scale.halve()), (1.0, None, False))

    def test_it_halves_down_to_one_and_doubles_by_the_count_of_updates(self) -> None:
        scale = LossScale("fp16", None)
        scale.grow(0)
        self.assertEqual(scale.recorded, INITIAL)
        self.assertTrue(scale.halve())
        resumed = LossScale("fp16", scale.recorded)
        for each in (scale, resumed):
            each.grow(WINDOW - 1)
            self.assertEqual(each.value, INITIAL / 2)
            each.grow(WINDOW)
            self.assertEqual(each.value, INITIAL)
        lowest = LossScale("fp16", LEAST)
        self.assertFalse(lowest.halve())
        self.assertEqual(lowest.value, LEAST)


class Dropout(unittest.TestCase):
    def test_an_element_has_the_fate_that_typescript_draws(self) -> None:
        # as test/core/model/lora/dropout.test.ts has them
        for (share, seed, *counters), first in [
            ((0.1, 42, 3, 17, 1, 5), [5, 16, 22, 38, 66]),
            ((0.37, 2**40 + 5, 1_000_000, 2**32 - 1, 31, 6), [0, 5, 6, 8, 9]),
            ((0.5, 0, 0, 0, 0, 0), [0, 2, 5, 11, 12]),
        ]:
            factors = drawn(bits_at(seed, *counters), 150_000, share, torch.device("cpu"))
            dropped = factors.eq(0).nonzero().flatten().tolist()
            self.assertEqual(dropped[:5], first)
            self.assertAlmostEqual(len(dropped) / 150_000, share, delta=0.005)
            self.assertEqual(factors.max().item(), torch.tensor(1 / (1 - share)).item())


class Settings(unittest.TestCase):
    def settings(self, precision: str, optimizer: str, parameters: str) -> dict[str, Any]:
        return settings_of(precision, 8, 1001, 4, {"optimizer": optimizer, "parameters": parameters, "directory": "/fast/rank0"})

    def test_what_is_offloaded_is_named(self) -> None:
        plain = self.settings("bf16", "none", "none")["zero_optimization"]
        self.assertFalse({"offload_optimizer", "offload_param"} & set(plain))
        zero = self.settings("fp16", "cpu", "nvme")["zero_optimization"]
        self.assertEqual(zero["offload_optimizer"]["device"], "cpu")
        self.assertNotIn("nvme_path", zero["offload_optimizer"])
        self.assertEqual((zero["offload_param"]["device"], zero["offload_param"]["nvme_path"]), ("nvme", "/fast/rank0"))
        # a rank's part of the largest parameter
        self.assertEqual(zero["offload_param"]["buffer_size"], 251)

    def test_one_precision_is_on(self) -> None:
        for precision in ("fp32", "bf16", "fp16"):
            settings = self.settings(precision, "none", "none")
            self.assertEqual([name for name in ("bf16", "fp16") if settings[name]["enabled"]], [precision] * (precision != "fp32"))
            # DeepSpeed's own loss scaling would skip steps
            self.assertEqual(settings["fp16"]["loss_scale"], 1)


if __name__ == "__main__":
    unittest.main()
