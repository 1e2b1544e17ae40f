"""VideoClusterNet on labelled titles: what fine-tuning the face network on each title does to its clustering.

DATA holds tracks/, faces/ and truth/ as for `tests.bench.adaptation`, and crops/NAME/ with a title's crops and links
as `castmine finetune` stages them. `tests.bench.crops` makes such folders: of films, and of composite titles, whose
figures are those of composite titles: real track structure, photographs of other people.

Every title is learned from by itself, without labels. Rows: the raw embedding, other adapters trained on the title,
and VideoClusterNet before and after each iteration. Columns, in percent but for PCR (characters found over true ones, 1
is best), means over titles: V of average linkage at the true number; of castmine's clustering, which finds the number,
V, WCP, PCR and B-cubed F; the same of the paper's clustering (by the loss; on cosine distances for other embeddings),
which knows no links and no tracks of poor quality but those that the network is unsure of: these are left out (*), as
the paper does, or count as wrong (WCP, +). Then TPR at three FPR over all pairs of tracks; of the matches that the next
iteration would learn from, those that are of one person, and how many of all pairs of one person they are; what
castmine's own judgement says, seconds of training, and milliseconds of the paper's clustering a track. Printed
before it: which pairs moved.

  python -m tests.bench.finetuning DATA [--seeds 7 8 9] [--preset small] [--ablations]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import v_measure_score

from conf.settings import FinetuneSettings
from jobs.cluster import expect_distances
from jobs.finetune import make_plan
from tests.bench.adaptation import FPR, NONE
from tests.bench.clustering import face_sets
from tests.bench.labelled_titles import COMPOSITE, Title, known, load, trained, unit
from training.finetune.branches import open_backbone
from training.finetune.judge import compare, decide_status
from training.finetune.loop import Epoch, find_matches, find_unsure, fine_tune
from training.finetune.matching import match_tracks
from training.finetune.model import Model, answer_seen, see_crops
from training.finetune.plan import FinetunePlan
from training.finetune.sampling import sample_faces
from training.finetune.title import TitleCrops, read_title
from udfs import assets
from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import Links
from udfs.kernels.cluster.odds import Distances
from udfs.kernels.cluster.own_thresholds import own_thresholds
from udfs.kernels.cluster.videoclusternet import Answers, cluster_by_loss, summarise_tracks
from udfs.kernels.evaluate.scoring import score
from udfs.kernels.rows import unit_means

RIVALS = ("whitened_triplet", "imptriplet", "mvcorr")
ABLATIONS = {
    "no soft matching": {"matching": "none"},
    "one threshold for all (cosine 0.5)": {"matching": "fixed"},
    "no quality filter": {"quality": False},
    "the backbone, too": {"backbone": True},
}
COLUMNS = (
    *("V average, true number", "castmine V", "WCP", "PCR", "B-cubed F"),
    *("paper's V *", "WCP *", "WCP +", "PCR *", "B-cubed F *"),
    *("TPR @ 0.1 %", "@ 1 %", "@ 10 %", "matches right", "found", "castmine's judgement", "s", "ms a track"),
)


@dataclass
class Row:
    """One line of the table: by title and seed, the figures, the verdict and the seconds."""

    figures: list[list[float]] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[7])
    parser.add_argument("--preset", choices=["small", "paper"], default="small")
    parser.add_argument("--ablations", action="store_true", help="parts of the method left out, one seed")
    args = parser.parse_args(argv)
    titles = load(args.data)
    crops = {name: read_title(args.data / "crops" / name) for name in titles}
    plan = make_plan(FinetuneSettings(preset=args.preset))
    rows: dict[str, Row] = {}
    for name, title in titles.items():
        for called, figures, verdict in measure(title, crops[name], plan, args.seeds, args.ablations):
            row = rows.setdefault(called, Row())
            row.figures.append(figures)
            row.verdicts.append(verdict)
            print(f"{name}: {called}: {say(figures)} {verdict}", flush=True)
    print(f"\n| embedding | {' | '.join(COLUMNS)} |\n" + "|---" * (len(COLUMNS) + 1) + "|")
    for called, row in rows.items():
        mean = np.array(row.figures).mean(axis=0)
        judged = [verdict for verdict in row.verdicts if verdict]
        ready = f"{judged.count('ready')} of {len(judged)} ready" if judged else ""
        cells = [*(f"{value:.1f}" if place not in (3, 8) else f"{value:.2f}" for place, value in enumerate(mean))]
        print(f"| {called} | {' | '.join([*cells[:-2], ready, *cells[-2:]])} |")


def measure(
    title: Title, crops: TitleCrops, plan: FinetunePlan, seeds: Sequence[int], ablations: bool
) -> Iterator[tuple[str, list[float], str]]:
    """Each row of one title and seed: its name, its figures and its verdict."""
    faces = {"raw": (title.faces, known(), "", 0.0)}
    for method in RIVALS:
        for seed in seeds:
            began = time.perf_counter()
            adapt, verdict = trained(method, {"title": title}, seed)
            faces[f"{method} {seed}"] = adapt(title.faces), known(adapt), verdict, time.perf_counter() - began
    for called, (rows, distances, verdict, seconds) in faces.items():
        rows = unit(rows)
        sets, began = face_sets(title, rows), time.perf_counter()
        means = unit_means(rows, title.track, len(title.label)).astype(np.float32)
        labels = own_thresholds(sets)(means).labels
        took = 1000 * (time.perf_counter() - began) / len(title.label)
        everyone = np.ones(len(title.label), bool)
        matched = find_right(title.label, match_tracks(rows, title.track, len(title.label)))
        figures = [*score_all(title, means, distances, labels, everyone), *matched, seconds, took]
        yield called.split()[0], figures, verdict
    for seed in seeds:
        yield from fine_tuned(title, crops, plan.model_copy(update={"seed": seed}), "VideoClusterNet")
    for called, changes in ABLATIONS.items() if ablations else ():
        changed = plan.model_copy(update={**changes, "seed": seeds[0]})
        *_, last = fine_tuned(title, crops, changed, called)
        yield called, *last[1:]


def fine_tuned(
    title: Title, crops: TitleCrops, plan: FinetunePlan, called: str
) -> Iterator[tuple[str, list[float], str]]:
    """As `measure`, before fine-tuning (0) and after each iteration; prints which pairs moved."""
    trains = sample_faces(crops.crops.track, crops.time_s, crops.good, plan.crop_every_s, plan.crops_per_track)
    base = open_backbone(assets.fetch(COMPOSITE))
    shown = Shown(crops, Model(base, plan.seed))
    found = [(0, 0.0, judge(title, shown, Model(base, plan.seed), plan))]
    began, paused = time.perf_counter(), 0.0

    def tell(epoch: Epoch, model: Model) -> None:
        nonlocal paused
        seen.append(epoch.iteration)
        if seen.count(epoch.iteration) == plan.epochs(epoch.iteration):
            at = time.perf_counter()
            judged = judge(title, Shown(crops, model) if plan.backbone else shown, model, plan)
            found.append((epoch.iteration, at - began - paused, judged))
            paused += time.perf_counter() - at

    seen: list[int] = []
    fine_tune(crops.crops.among(np.flatnonzero(trains)), base, plan, tell=tell)
    for iteration, seconds, judged in found:
        yield f"{called} {iteration}", [*judged.figures, seconds, judged.took], judged.verdict if iteration else ""
    learned = np.any([judged.matches for _, _, judged in found[1:-1]] or [np.eye(len(title.label))], axis=0)
    raw = unit_means(crops.raw, crops.crops.track, crops.crops.n_tracks)
    for line in describe_moves(title.label, learned | learned.T, raw, found[-1][2].means):
        print(f"  {called}: {line}")


def describe_moves(
    label: NDArray[np.str_], learned: NDArray[np.bool_], raw: NDArray[np.floating], adapted: NDArray[np.floating]
) -> Iterator[str]:
    """Of pairs of tracks that were and were not learned from as matches: the median share of all pairs of two people
    that lie nearer than they do, before and after."""
    i, j = np.triu_indices(len(label), 1)
    same, matched = label[i] == label[j], learned[i, j]
    distances = [(1 - x @ x.T)[i, j] for x in (raw, adapted)]
    others = [np.sort(distance[~same]) for distance in distances]
    for people, one in (("one person", same), ("two people", ~same)):
        for which, kind in (("matched", one & matched), ("not matched", one & ~matched)):
            nearer = [
                100 * float(np.median(np.searchsorted(sorted_, distance[kind]) / len(sorted_))) if kind.any() else 0.0
                for sorted_, distance in zip(others, distances, strict=True)
            ]
            moved = f"{nearer[0]:.2f} -> {nearer[1]:.2f}"
            yield f"{people}, {which}: {kind.sum()} pairs, nearer are {moved} % of two people"


class Judged(NamedTuple):
    """A model as it is: the columns of the table, milliseconds of the paper's clustering a track, castmine's verdict,
    the matches that the next iteration would learn from, the tracks' embeddings."""

    figures: list[float]
    took: float
    verdict: str
    matches: NDArray[np.bool_]
    means: NDArray[np.float32]


class Shown:
    """What a model's backbones see in a title's crops, and in the mirror images of tracks' only ones."""

    def __init__(self, crops: TitleCrops, model: Model) -> None:
        counts = np.bincount(crops.crops.track, minlength=crops.crops.n_tracks)
        only = np.flatnonzero(counts[crops.crops.track] == 1)
        self.crops = crops
        self.all, self.alone = (see_crops(model, x, exact=True) for x in (crops.crops, crops.crops.mirrored(only)))


def judge(title: Title, shown: Shown, model: Model, plan: FinetunePlan) -> Judged:
    """What there is to say of a model as it is now."""
    crops = shown.crops
    answers, alone = answer_seen(model, shown.all), answer_seen(model, shown.alone)
    unsure = find_unsure(model, answers, crops.crops, plan)
    fixed = model.loss.centre.numpy(), (model.loss.teacher, model.loss.student)
    began = time.perf_counter()
    summary = summarise_tracks(
        Answers(answers.teacher.numpy(), answers.student.numpy(), *fixed),
        Answers(alone.teacher.numpy(), alone.student.numpy(), *fixed),
        crops.crops.track,
        crops.crops.n_tracks,
    )
    sure = np.flatnonzero(~unsure)
    found = cluster_by_loss(summary.among(sure), np.eye(1).repeat(len(sure), axis=0))
    took = 1000 * (time.perf_counter() - began) / len(unsure)
    compared = compare(crops, answers.adapted.numpy())
    means = unit_means(answers.adapted.numpy(), crops.crops.track, crops.crops.n_tracks).astype(np.float32)
    distances = expect_distances(assets.registry().files[COMPOSITE].sha256, compared.moved)
    figures = score_all(title, means, distances, found.labels, ~unsure)
    matches = find_matches(answers, crops.crops, plan, unsure)
    matches = np.zeros((len(unsure), len(unsure)), bool) if matches is None else matches
    figures += find_right(title.label, matches)
    return Judged(figures, took, decide_status(compared)[0], matches, means)


def score_all(
    title: Title,
    means: NDArray[np.float32],
    distances: Distances,
    papers: NDArray[np.int32],
    sure: NDArray[np.bool_],
) -> list[float]:
    """The columns up to the TPR; `papers` are clusters of the sure tracks."""
    true = len(set(title.label))
    average = fcluster(linkage(means, "average", "cosine"), true, "maxclust")
    evidence = Evidence(means, np.ones(len(means), np.int64), Links(title.cannot, NONE))
    ours = find_characters(evidence, Rules(known=distances)).labels
    whole = np.full(len(means), -1, np.int32)
    whole[sure] = papers
    kept, of_all = score(title.label[sure], papers), score(title.label, whole)
    return [
        100 * v_measure_score(title.label, average),
        *_shares(score(title.label, ours), ours, true),
        100 * kept["v_measure"],
        100 * kept["wcp"],
        100 * of_all["wcp"],
        (papers.max() + 1) / len(set(title.label[sure])),
        100 * kept["bcubed_f"],
        *pairs(title.label, means),
    ]


def _shares(found: dict[str, float], labels: NDArray[np.int32], true: int) -> list[float]:
    v, wcp, f = (100 * found[name] for name in ("v_measure", "wcp", "bcubed_f"))
    return [v, wcp, (labels.max() + 1) / true, f]


def find_right(label: NDArray[np.str_], matches: NDArray[np.bool_]) -> list[float]:
    """Of the matches those of one person, and of the pairs of one person those that match, in percent."""
    same = (label[:, None] == label) & ~np.eye(len(label), dtype=bool)
    right = (matches & same).sum()
    return [100 * right / max(matches.sum(), 1), 100 * right / max(same.sum(), 1)]


def pairs(label: NDArray[np.str_], means: NDArray[np.float32]) -> list[float]:
    """TPR at each FPR, in percent, over all pairs of tracks."""
    i, j = np.triu_indices(len(label), 1)
    distance = (1 - means @ means.T)[i, j]
    same = label[i] == label[j]
    return [100 * float((distance[same] < np.quantile(distance[~same], fpr)).mean()) for fpr in FPR]


def say(figures: Sequence[float]) -> str:
    """One line to look at while it runs."""
    return " ".join(f"{value:.1f}" for value in figures)


if __name__ == "__main__":
    main()
