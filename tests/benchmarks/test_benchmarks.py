"""What the benchmarks' numbers rest on: the reviews, the plan of batches, the count of useful work, the medians."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from benchmarks import end_to_end, serving
from benchmarks.hosts import Exchange, Step, exchange_of
from benchmarks.measuring import children, figure
from benchmarks.measuring.channels import batches_of, write_channel
from benchmarks.measuring.networks import Network
from benchmarks.measuring.plan import WARM_UP_STEPS, make_plan, middle_of_share
from benchmarks.measuring.reviews import draw_length, join_sentences, make_reviews, padding_share
from benchmarks.measuring.summary import LABELS, counterpart, measure_child, summarise, table
from benchmarks.measuring.useful_work import useful_flops
from benchmarks.measuring.weights import write_weights
from benchmarks.scaling_ops import (
    BETWEEN_STEPS,
    NO_OPERATION,
    kept,
    lost,
    own_segments,
    parts_of_step,
    scaling,
    two_cores,
)
from benchmarks.training import CONTESTANTS, choose_cases, earlier_rounds, unavailable
from star_rating.model import pretrained_weights
from star_rating.model.config import DistilBertConfig
from star_rating.model.distilbert import DistilBertClassifier
from tests.helpers.prepare_fixtures import make_weights, write_tsv
from tests.helpers.transformers_reference import load_reference

PYTORCH_PYTHON = children.PROJECT / ".venv-pytorch" / "bin" / "python"
BATCH_SIZE = 4
GEOMETRY = {"dim": 768, "hidden_dim": 3072, "n_layers": 6}


@pytest.fixture
def lengths() -> list[int]:
    pick = random.Random(0)
    return [pick.randrange(3, 60) for _ in range((50 + WARM_UP_STEPS) * BATCH_SIZE)]


class TestPlan:
    def test_batches_at_random_and_grouped_ones_hold_the_same_reviews(self, lengths: list[int]) -> None:
        plan = make_plan(lengths, BATCH_SIZE, steps=8)
        grouped = [review for batch in plan.grouped[WARM_UP_STEPS:] for review in batch]
        assert sorted(plan.measured) == sorted(grouped)
        assert len(set(grouped)) == 8 * BATCH_SIZE
        assert plan.mixed[WARM_UP_STEPS:] != plan.grouped[WARM_UP_STEPS:]

    def test_everyone_warms_up_on_the_same_batches_which_are_not_measured(self, lengths: list[int]) -> None:
        plan = make_plan(lengths, BATCH_SIZE, steps=8)
        warm_up = plan.mixed[:WARM_UP_STEPS]
        assert warm_up == plan.grouped[:WARM_UP_STEPS]
        assert not {review for batch in warm_up for review in batch} & set(plan.measured)

    def test_grouped_batches_are_neighbours_in_the_order_of_length(self, lengths: list[int]) -> None:
        plan = make_plan(lengths, BATCH_SIZE, steps=8)
        ordered = [lengths[review] for review in plan.megabatch]
        assert ordered == sorted(lengths[WARM_UP_STEPS * BATCH_SIZE :], reverse=True)
        for batch in plan.grouped[WARM_UP_STEPS:]:
            start = plan.megabatch.index(batch[0])
            assert start % BATCH_SIZE == 0
            assert plan.megabatch[start : start + BATCH_SIZE] == batch

    @pytest.mark.parametrize("steps", [5, 8, 10])
    def test_the_sample_is_as_long_as_the_megabatch(self, lengths: list[int], steps: int) -> None:
        plan = make_plan(lengths, BATCH_SIZE, steps)
        sample = np.mean([lengths[review] for review in plan.measured])
        assert sample == pytest.approx(np.mean([lengths[review] for review in plan.megabatch]), rel=0.02)

    def test_a_share_is_represented_by_its_middle(self) -> None:
        assert [middle_of_share(share, 5, 50) for share in range(5)] == [5, 15, 25, 35, 45]
        assert [middle_of_share(share, 50, 50) for share in range(50)] == list(range(50))

    def test_more_steps_than_there_are_batches_are_refused(self, lengths: list[int]) -> None:
        with pytest.raises(ValueError, match="51 steps of 4 reviews cannot be taken from 50 batches"):
            make_plan(lengths, BATCH_SIZE, steps=51)


class TestReviews:
    @pytest.fixture
    def sentences(self, tmp_path: Path) -> Path:
        rows = [("A", 4, "good camera"), ("B", 1, "awful"), ("A", 5, "love love love"), ("A", 5, "great phone")]
        return write_tsv(tmp_path / "sentences.tsv", rows)

    @pytest.fixture
    def tokenizer(self, tmp_path: Path) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(make_weights(tmp_path / "weights") / "tokenizer.json"))
        tokenizer.no_padding()
        return tokenizer

    def test_a_review_s_sentences_follow_one_another_with_their_mean_rating(self, sentences: Path) -> None:
        reviews = {review.text: review.stars for review in join_sentences(sentences)}
        assert reviews == {"good camera love love love great phone": 5, "awful": 1}

    def test_they_are_as_long_as_real_ones(self) -> None:
        pick = random.Random(0)
        tokens = [draw_length(pick) for _ in range(20_000)]
        shares = [padding_share(tokens, length) for length in (64, 128, 256, 512)]
        assert shares == pytest.approx([0.30, 0.50, 0.68, 0.82], abs=0.01)

    def test_their_text_has_the_tokens_drawn(self, sentences: Path, tokenizer: Tokenizer) -> None:
        reviews = make_reviews(sentences, tokenizer, count=50, seed=7)
        tokens = [len(tokenizer.encode(review.text).ids) for review in reviews]
        # Each review's first draw decides its length; the draws between them are of texts.
        assert tokens[0] == draw_length(random.Random(7))
        assert len(set(tokens)) > 20
        assert reviews == make_reviews(sentences, tokenizer, count=50, seed=7)


class TestChannel:
    def test_the_trainer_s_shuffled_pipeline_reads_the_planned_batches(self, tmp_path: Path) -> None:
        ids = [[2, *range(5, 5 + review % 7), 3] for review in range(40)]
        labels = [review % 5 for review in range(40)]
        planned = make_plan([len(row) for row in ids], BATCH_SIZE, steps=4).mixed
        write_channel(tmp_path, planned, ids, labels, length=16)
        for batch, (features, stars) in zip(planned, batches_of(tmp_path, BATCH_SIZE, 16), strict=False):
            assert features["input_mask"].numpy().sum(axis=1).tolist() == [len(ids[review]) for review in batch]
            assert stars.numpy().tolist() == [labels[review] for review in batch]


class TestWeights:
    def test_the_trainer_and_transformers_find_every_tensor_and_none_too_many(self, tmp_path: Path) -> None:
        config = DistilBertConfig(
            vocab_size=50, max_position_embeddings=16, n_layers=2, n_heads=2, dim=8, hidden_dim=16
        )
        write_weights(tmp_path / "written", config, make_weights(tmp_path / "tokenizer"))
        written = pretrained_weights.load(tmp_path / "written")
        model = DistilBertClassifier(written.config, seed=0)
        assert pretrained_weights.load_into(model, written), "the head comes from the file too"
        assert written.tensors["distilbert.transformer.layer.1.ffn.lin1.weight"].std() > 0.01
        load_reference(tmp_path / "written")


class TestUsefulWork:
    def test_of_many_tokens_is_six_a_weight_less_what_only_cls_needs(self) -> None:
        encoder = 6 * (4 * 768**2 + 2 * 768 * 3072)
        last_layer = 2 * 768**2 + 2 * 768 * 3072
        assert useful_flops(GEOMETRY, tokens=1000, reviews=0) == 6 * 1000 * (encoder - last_layer)
        assert last_layer / encoder == pytest.approx(0.14, abs=0.005)

    def test_a_review_adds_its_last_layer_and_head(self) -> None:
        once = useful_flops(GEOMETRY, tokens=0, reviews=1)
        assert once == 6 * (2 * 768**2 + 2 * 768 * 3072 + 768**2 + 768 * 5)


def a_round(ours: float, rival: float, gemm: float) -> dict[str, Any]:
    def run(rate: float) -> dict[str, float]:
        return {
            "examples_per_second": rate,
            "seconds_a_step": 32 / rate,
            "first_step_seconds": 10.0,
            "peak_memory_bytes": 2e9,
        }

    runs = {"ours-float32": run(ours), "keras": run(rival)}
    return {"gemm_flops_per_second": [gemm * 0.9, gemm * 1.1], "contestants": runs}


# The machine halves its speed in the second round.
ROUNDS = [a_round(20, 10, 200e9), a_round(10, 5, 100e9), a_round(21, 10, 200e9)]


class TestSummary:
    def test_ratios_and_shares_are_taken_within_a_round(self) -> None:
        summary = summarise(ROUNDS, flops_an_example=5e9)
        assert summary["keras"]["ours_is_faster"] == pytest.approx(2.0)
        assert summary["keras"]["examples_per_second"] == 10
        assert summary["ours-float32"]["share_of_gemm"] == pytest.approx(0.5)

    def test_like_is_compared_with_like_in_the_rounds_that_have_both(self) -> None:
        faster = a_round(20, 10, 200e9)["contestants"]["ours-float32"] | {"compile_seconds": 60.0}
        rounds = [
            {
                "gemm_flops_per_second": [200e9],
                "contestants": {"ours-bfloat16": faster, "pytorch-compiled-bfloat16": faster},
            },
            {"gemm_flops_per_second": [200e9], "contestants": {"pytorch-compiled-bfloat16": faster}},
        ]
        summary = summarise([*ROUNDS, *rounds], flops_an_example=5e9)
        assert list(summary) == ["ours-float32", "keras", "ours-bfloat16", "pytorch-compiled-bfloat16"]
        assert summary["keras"]["ours_is_faster"] == pytest.approx(2.0)
        assert summary["pytorch-compiled-bfloat16"]["ours_is_faster"] == pytest.approx(1.0)
        assert "ours_is_faster" not in summary["ours-bfloat16"]
        assert table("batch 32", summary).endswith("(60 s of it compiling)")

    def test_the_table_has_a_line_a_contestant(self) -> None:
        lines = table("batch 32", summarise(ROUNDS, flops_an_example=5e9)).splitlines()
        assert lines[0] == "batch 32"
        assert lines[3].split()[-8:] == ["10.00", "2.00", "x", "10.0", "s", "2.00", "GB", "25%"]

    def test_a_contestant_s_rate_leaves_out_the_first_two_steps(self) -> None:
        numbers = measure_child([113.0, 115.0, 116.0, 117.0], 100.0, peak_memory_bytes=1, batch_size=32)
        assert numbers["examples_per_second"] == 32
        assert numbers["first_step_seconds"] == 13

    def test_the_picture_is_drawn(self, tmp_path: Path) -> None:
        case = {"max_seq_length": 64, "batch_size": 32, "rounds": ROUNDS, "medians": summarise(ROUNDS, 5e9)}
        figure.draw({"cases": {"one": case, "two": case}}, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


class TestCases:
    def test_every_length_is_for_everyone_and_the_large_batch_for_ours(self) -> None:
        cases = choose_cases((64, 128), ("keras", "ours-float32", "ours"), steps=8)
        assert [(case.length, case.batch_size, case.contestants) for case in cases] == [
            (64, 32, ("ours", "ours-float32", "keras")),
            (128, 32, ("ours", "ours-float32", "keras")),
            (128, 128, ("ours-float32",)),
        ]

    def test_every_contestant_has_a_module_and_a_label_and_one_of_ours_beside_it(self) -> None:
        assert set(CONTESTANTS) == set(LABELS)
        for name, (module, flags) in CONTESTANTS.items():
            assert (children.PROJECT / "benchmarks" / "contestants" / f"{module}.py").is_file()
            assert ("--bfloat16" in flags) == name.endswith("-bfloat16")
            assert counterpart(name) in {None, "ours-float32", "ours-bfloat16"}

    @pytest.mark.parametrize(
        ("instruction_set", "compiler", "left_out"),
        [
            ("AVX512_CORE_FP16", "/usr/bin/g++", set()),
            ("AVX512_CORE_BF16", None, {"pytorch-compiled", "pytorch-compiled-bfloat16"}),
            ("AVX512_CORE_VNNI", "/usr/bin/g++", {name for name in CONTESTANTS if name.endswith("-bfloat16")}),
        ],
    )
    def test_who_cannot_run_here_is_left_out_with_the_reason(
        self, instruction_set: str, compiler: str | None, left_out: set[str]
    ) -> None:
        assert set(unavailable(list(CONTESTANTS), instruction_set, compiler)) == left_out

    def test_rounds_are_added_to_those_of_the_same_batches(self) -> None:
        facts = {"real_tokens": 7, "measured_steps": 8}
        assert earlier_rounds({**facts, "rounds": ROUNDS}, facts) == ROUNDS
        assert earlier_rounds({**facts, "measured_steps": 4, "rounds": ROUNDS}, facts) == []
        assert earlier_rounds(None, facts) == []


class TestUnpadded:
    """The strongest opponent has to compute what transformers computes."""

    @pytest.mark.skipif(not PYTORCH_PYTHON.is_file(), reason="no .venv-pytorch (scripts/extra_venv.sh)")
    def test_loss_and_gradients_are_those_of_transformers(self, tmp_path: Path) -> None:
        config = DistilBertConfig(
            vocab_size=99, max_position_embeddings=32, n_layers=3, n_heads=4, dim=32, hidden_dim=64
        )
        write_weights(tmp_path, config, make_weights(tmp_path / "tokenizer"))
        program = children.PROJECT / "tests" / "helpers" / "unpadded_against_transformers.py"
        environment = {**os.environ, **children.ENVIRONMENT}
        ended = subprocess.run([PYTORCH_PYTHON, program, tmp_path], env=environment, check=True, stdout=subprocess.PIPE)
        differences = json.loads(ended.stdout)
        assert 0 <= differences["loss"] < 1e-5
        assert len(differences["gradients"]) == 5
        assert max(differences["gradients"].values()) < 1e-5


class TestChildren:
    def test_a_child_that_fails_ends_the_benchmark_with_the_end_of_its_log(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match=r"(?s)No module named.*nobody ended with exit code 1; its log"):
            children.run("contestants.nobody", [], tmp_path / "log", Path(sys.executable))

    def test_the_last_line_is_the_report(self, tmp_path: Path) -> None:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\necho a word first\necho '{json.dumps({'step_ends': [1.5]})}'\n")
        python.chmod(0o755)
        child = children.run("contestants.ours", [], tmp_path / "log", python)
        assert child.report == {"step_ends": [1.5]}
        assert child.peak_memory_bytes > 0


def test_the_model_of_hosts_finds_what_the_measured_exchanges_are_made_of() -> None:
    exchange = Exchange(sent_bytes=1e8, engine=2e8, delays_a_round=24)
    networks = [Network(), Network(delay_ms=0), Network(delay_ms=1), Network(delay_ms=5)]
    measured = [
        {"hosts": 2, **asdict(network), "gradient_bytes": 1e8, "exchange_seconds": exchange.seconds(2, network)}
        for network in networks
    ]
    assert asdict(exchange_of(measured)) == pytest.approx(asdict(exchange))
    # Half a second for the bytes, and 2 rounds of 24 delays of 5 ms.
    assert exchange.seconds(2, networks[-1]) == pytest.approx(0.5 + 0.24)
    assert exchange.seconds(4, Network(gigabits=0.8)) == pytest.approx(1.5)
    assert Step(1.0, 8.0).on(4, exchange, Network()) == pytest.approx(1.0 + 2.0 + 0.75)


def test_servings_ratio_is_the_median_of_the_rounds_ratios() -> None:
    def measured(rate: float) -> serving.Measured:
        return {
            "reviews_per_second": rate,
            "reviews_per_processor_second": rate / 2,
            "p50": 1 / rate,
            "p99": 2 / rate,
        }

    rounds = [
        {"64": {serving.OURS: measured(ours), serving.PIPELINE: measured(other)}}
        for ours, other in ((100, 50), (30, 10), (400, 100))
    ]
    summary = serving.summarise(rounds)
    assert summary["64"][serving.OURS]["reviews_per_second"] == 100
    assert summary["64"][serving.PIPELINE]["serve_is_faster"] == 3
    assert "50.0    3.00 x            25.0    3.00 x     20 ms     40 ms" in serving.table(summary)


def test_end_to_end_s_ratio_is_the_median_of_the_rounds_ratios() -> None:
    def ran(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "peak_memory_bytes": 2e9}

    rounds = [{"ours": ran(ours), "trainer": ran(theirs)} for ours, theirs in ((10, 20), (30, 30), (5, 20))]
    summary = end_to_end.medians([*rounds, {"trainer": ran(99)}])
    assert summary["ours"] == ran(10)
    assert summary["trainer"] == {**ran(25), "ours_is_faster": 2}
    line = end_to_end.table("3 reviews", {"medians": summary}).splitlines()[3]
    assert line.split()[-6:] == ["25.0", "s", "2.00", "x", "2.00", "GB"]


def test_resident_memory_is_that_of_a_process_and_its_descendants() -> None:
    # A shell that waits for a Python with 50 MB more.
    program = "import sys; held = bytearray(50_000_000); print(flush=True); sys.stdin.read()"
    command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin
        assert shell.stdout
        shell.stdout.readline()
        assert 50_000_000 < end_to_end.resident_bytes(shell.pid) < 200_000_000
        shell.stdin.close()
    assert end_to_end.resident_bytes(shell.pid) == 0


def test_resident_megabytes_are_what_the_kernel_says() -> None:
    assert 10 < serving.resident_megabytes(os.getpid()) < 100_000


class TestScalingOfOperations:
    def test_an_operation_within_another_has_its_own_time(self) -> None:
        segments = own_segments([("outer", 0.0, 10.0), ("inner", 2.0, 3.0), ("inner", 5.0, 7.0), ("next", 12.0, 13.0)])
        assert segments == [
            ("outer", 0.0, 2.0),
            ("inner", 2.0, 3.0),
            ("outer", 3.0, 5.0),
            ("inner", 5.0, 7.0),
            ("outer", 7.0, 10.0),
            ("next", 12.0, 13.0),
        ]

    def test_operations_that_run_at_once_share_the_moment_and_the_parts_add_up_to_the_step(self) -> None:
        calls = [("train_function", begin, begin + 8.0) for begin in (100.0, 110.0, 120.0)]
        step = [("MatMul", 1.0, 5.0), ("Mul", 5.0, 6.0)]
        other = [("MatMul", 2.0, 4.0), ("Adam", 4.0, 5.0), ("IsFinite", 8.5, 9.0)]
        threads = [
            [(name, call + begin, call + end) for _, call, _ in calls for name, begin, end in thread]
            for thread in (step, other)
        ]
        parts = parts_of_step(threads, calls)
        assert parts == pytest.approx({"MatMul": 3.5, "Adam": 0.5, "Mul": 1.0, NO_OPERATION: 3.0, BETWEEN_STEPS: 2.0})
        assert sum(parts.values()) == pytest.approx(10.0)

    def test_what_takes_half_as_long_on_two_cores_loses_nothing(self) -> None:
        rows = lost({"MatMul": 4.0, "Random": 1.0}, {"MatMul": 2.0, "Random": 1.0, "Copy": 0.1})
        assert [(row["name"], row["lost_seconds"]) for row in rows] == [("Random", 0.5), ("Copy", 0.1), ("MatMul", 0.0)]

    def test_the_serial_share_is_amdahl_s(self) -> None:
        # A tenth is serial: two cores take 0.1 + 0.9 / 2, eighteen 0.1 + 0.9 / 18 = 0.15.
        found = scaling([1.0, 1.0], [0.55, 0.55])
        assert found["serial_share"] == pytest.approx(0.1)
        assert found["efficiency"] == pytest.approx(1 / 1.1)
        assert found["predicted_speed_up_of_18_cores"] == pytest.approx(1 / 0.15)

    def test_two_cores_are_two_of_this_process(self) -> None:
        pair = two_cores()
        assert pair is None or (len(set(pair)) == 2 and set(pair) <= os.sched_getaffinity(0))

    def test_what_an_interrupted_call_has_measured_is_not_measured_again(self, tmp_path: Path) -> None:
        name = tmp_path / "runs" / "batch-32-cores-1-1"

        def interrupted() -> dict[str, float]:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            kept(name, interrupted)
        assert kept(name, lambda: {"seconds_a_step": 4.5}) == {"seconds_a_step": 4.5}
        assert kept(name, interrupted) == {"seconds_a_step": 4.5}
