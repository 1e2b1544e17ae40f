"""How likely two tracks of a title are one person, by their distance: what is known, and what the title shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from udfs.kernels.cluster.nearest import EXACT
from udfs.kernels.rows import distances_of

SAMPLED, _BLOCK = 1024, 256
KNOWN_WEIGHT, GUESS_WEIGHT = 20.0, 5.0  # tracks that what was measured before counts for, or what is only guessed
SHARE_BEFORE = (1.0, 10.0)  # one person, two people: pairs that the share of pairs starts from, counted in tracks
LINKS_WEIGHT = 0.25  # of the title's tracks: what all cannot-links together count for at most
WRONG_LINKS = 0.02  # of cannot-links, the share that is taken to join one person: mirrors, screens, photographs
START = 0.03, 0.6  # quantiles of a title's own distances, where the fit begins a second time
LEAST_SD = 0.02
_STEPS, _ROUNDS, _ENOUGH = 1000, 200, 1e-7  # of a histogram per unit of distance; of the fit


class Spread(NamedTuple):
    """Mean and standard deviation of cosine distances."""

    mean: float
    sd: float


class Distances(NamedTuple):
    """How far apart tracks of one person, and of two people, lie in an embedding; how many tracks that counts for."""

    same: Spread
    different: Spread
    weight: float = KNOWN_WEIGHT

    def shift_by(self, same: tuple[float, float], different: tuple[float, float]) -> Distances:
        """The same after an adapter, given what it adds to the means and by what it multiplies the deviations.

        Where one person would not lie nearer than two people then, the adapter tells nobody apart, and what is known of
        the embedder is all there is.
        """
        spreads = ((self.same, same), (self.different, different))
        one, two = (Spread(of.mean + added, max(of.sd * times, LEAST_SD)) for of, (added, times) in spreads)
        return Distances(one, two, self.weight) if 0 < one.mean < two.mean < 2 else self


# of an embedder that nobody has measured: between those in conf/models.yml, a little wider, and soon overruled
UNMEASURED = Distances(Spread(0.48, 0.17), Spread(0.92, 0.10), GUESS_WEIGHT)


class Odds(NamedTuple):
    """What a title says of its own pairs of tracks.

    Attributes:
        share: of its pairs, those of one person.
        same, different: where pairs of one person, and of two people, lie.
    """

    share: float
    same: Spread
    different: Spread

    def log_odds(self, distance: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """The logarithm of how much likelier than not a pair at this distance is one person.

        Nearer than `same` is as good as there, farther than `different` as bad: so it falls everywhere.
        """
        d = np.clip(np.asarray(distance, np.float64), self.same.mean, self.different.mean)
        prior = np.log(self.share / (1.0 - self.share)) - np.log(self.same.sd / self.different.sd)
        return np.asarray(prior - _square(d, self.same) + _square(d, self.different))

    @property
    def threshold(self) -> float:
        """The distance at which both are equally likely; where one always is the likelier, that one's end."""
        low, high = self.same.mean, self.different.mean
        if self.log_odds(low) <= 0:
            return low
        return high if self.log_odds(high) >= 0 else round(float(brentq(self.log_odds, low, high)), 6)


def fit_odds(embeddings: NDArray[np.floating], cannot: NDArray[np.integer], known: Distances) -> Odds:
    """The odds of a title: two normal distributions fitted to the distances of its pairs, drawn to what is known.

    Pairs of tracks are a mixture of one person and two people, how much of each the title tells: where nobody returns,
    hardly any pair is near, the share of one person comes out near 0, and where they lie stays as it is known of the
    embedder. Where a cast returns in hundreds of tracks, both means and spreads become the title's own. Cannot-linked
    pairs count as two people, each by the probability that it is true, from its own distance and 2 % of wrong ones.

    Expectation maximisation (Dempster, Laird and Rubin, 1977) with conjugate priors, begun at what is known and at the
    title's own quantiles; the better fit is taken. Pairs are not independent, T tracks have T (T - 1) / 2 of them: so
    all together weigh T, cannot-linked ones one each, up to a quarter of T, and what is known 20 tracks (5 of an
    embedder that nobody has measured).

    Args:
        embeddings: (T, D) finite unit rows.
        cannot: (P, 2) row indices of pairs that are two people.
        known: the distances of the embedding at hand, measured elsewhere.

    Returns:
        T = 0 and T = 1 give what is known. The order of links, and of up to 4,096 rows, makes no difference. Of more
        rows, 1,024 at even steps stand for all. Cost O(T^2 D) up to there, then O(T D).
    """
    x = np.asarray(embeddings)
    pairs = np.unique(np.sort(np.asarray(cannot, np.int64).reshape(-1, 2), axis=1), axis=0)
    some = np.arange(len(x)) if len(x) <= EXACT else np.linspace(0, len(x) - 1, SAMPLED).astype(np.int64)
    distance = distances_of(x, pairs)
    linked = _count_steps(distance)
    free = _of_all_pairs(x[some]) - _count_steps(distance[np.isin(pairs, some).all(axis=1)])
    weights = len(x) / max(free.sum(), 1), min(1.0, LINKS_WEIGHT * len(x) / max(linked.sum(), 1))
    return _fit(free * weights[0], linked * weights[1], known)


def _fit(free: NDArray[np.float64], linked: NDArray[np.float64], known: Distances) -> Odds:
    """The mixture of two histograms of distances, of pairs that are free and of cannot-linked ones."""
    at = (np.arange(_bins()) + 0.5) / _STEPS
    seen = np.flatnonzero(free + linked)
    at, free, linked = at[seen], free[seen], linked[seen]
    starts = [Odds(SHARE_BEFORE[0] / sum(SHARE_BEFORE), known.same, known.different)]
    if free.sum() > 0:
        low, high = (float(at[np.searchsorted(free.cumsum(), share * free.sum())]) for share in START)
        if low < high:
            same, different = Spread(low, known.same.sd), Spread(high, known.different.sd)
            starts.append(starts[0]._replace(same=same, different=different))
    found = [_improve(start, at, free, linked, known) for start in starts]
    best = max(found, key=lambda odds: round(_fitness(odds, at, free, linked, known), 6))  # of equal ones the first
    same, different = (Spread(round(s.mean, 6), round(s.sd, 6)) for s in (best.same, best.different))
    return Odds(round(best.share, 6), same, different)


def _improve(
    now: Odds, at: NDArray[np.float64], free: NDArray[np.float64], linked: NDArray[np.float64], known: Distances
) -> Odds:
    """Expectation and maximisation in turn, until nothing changes."""
    one, two = SHARE_BEFORE
    for _ in range(_ROUNDS):
        same = free * _likely(now, at)
        true = 1.0 - _likely(now._replace(share=WRONG_LINKS), at)
        different = np.add(free - same, linked * true)
        share = (one + same.sum()) / (one + two + free.sum())
        spreads = ((same, known.same), (different, known.different))
        then = Odds(share, *(_update_normal(at, weight, before, known.weight) for weight, before in spreads))
        change = np.abs(np.subtract([then.share, *then.same, *then.different], [now.share, *now.same, *now.different]))
        now = then
        if change.max() < _ENOUGH:
            break
    return now


def _fitness(
    odds: Odds, at: NDArray[np.float64], free: NDArray[np.float64], linked: NDArray[np.float64], known: Distances
) -> float:
    """The logarithm of how likely the distances and what is known are under these odds, up to a constant."""
    if odds.same.mean >= odds.different.mean:
        return -np.inf  # one person is the nearer
    one, two = (-np.log(of.sd) - _square(at, of) for of in (odds.same, odds.different))
    seen = np.logaddexp(np.log(odds.share) + one, np.log1p(-odds.share) + two) @ free
    seen += np.logaddexp(np.log(WRONG_LINKS) + one, np.log1p(-WRONG_LINKS) + two) @ linked
    before = SHARE_BEFORE[0] * np.log(odds.share) + SHARE_BEFORE[1] * np.log1p(-odds.share)
    for of, was in ((odds.same, known.same), (odds.different, known.different)):
        before -= known.weight * (np.log(of.sd) + (was.sd**2 + (was.mean - of.mean) ** 2) / (2 * of.sd**2))
    return float(seen + before)


def _likely(odds: Odds, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely pairs at these distances are one person; certainly, or not at all, beyond the two means."""
    likely = np.where(at <= odds.same.mean, 1.0, expit(odds.log_odds(at)))
    return np.where(at >= odds.different.mean, 0.0, likely)


def _update_normal(at: NDArray[np.float64], weight: NDArray[np.float64], known: Spread, more: float) -> Spread:
    """Mean and deviation of weighed distances, with what is known as so many more of them."""
    total = more + weight.sum()
    mean = float((more * known.mean + (weight * at).sum()) / total)
    squares = more * (known.sd**2 + (known.mean - mean) ** 2) + (weight * (at - mean) ** 2).sum()
    return Spread(mean, float(np.sqrt(squares / total)))


def _square(d: NDArray[np.float64], of: Spread) -> NDArray[np.float64]:
    return np.asarray((d - of.mean) ** 2 / (2 * of.sd**2))


def _bins() -> int:
    return 2 * _STEPS + 1


def _count_steps(distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many distances fall into each step; counts are the same in whatever order they are added."""
    step = np.clip(np.round(distance, 9) * _STEPS, 0, _bins() - 1).astype(np.int64)
    return np.bincount(step, minlength=_bins())


def _of_all_pairs(x: NDArray[np.floating]) -> NDArray[np.int64]:
    x = x.astype(np.float64)  # in single precision the counts would depend on the threads of the product
    counts = np.zeros(_bins(), np.int64)
    for start in range(0, len(x), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(x)))
        distance = 1.0 - x[block] @ x.T
        counts += _count_steps(distance[np.arange(len(x)) < block[:, None]])
    return counts
