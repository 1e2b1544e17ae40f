"""Tracks to characters. A new method is a function like `partition.Clusterer` and one more entry of METHODS."""

from udfs.kernels.clustering.characters import Characters, confidence_of, find_characters
from udfs.kernels.clustering.hac import average_linkage, average_linkage_twice, complete_linkage, ward_linkage
from udfs.kernels.clustering.neighbours import doubted, drawn_to_neighbours
from udfs.kernels.clustering.odds import UNMEASURED, Distances, Odds, Spread, weigh
from udfs.kernels.clustering.others import affinity_propagation, dbscan, finch, hdbscan, k_means
from udfs.kernels.clustering.own_thresholds import own_thresholds, within
from udfs.kernels.clustering.partition import Clusterer, Clustering, FaceSets, Method

METHODS: dict[str, Method] = {
    "castmine": Method(average_linkage_twice, drawn=True),
    "hac_average": Method(average_linkage),
    "hac_complete": Method(complete_linkage, "given"),
    "hac_ward": Method(ward_linkage, "given"),
    "k_means": Method(k_means, "given"),
    "affinity_propagation": Method(affinity_propagation, "found"),
    "dbscan": Method(dbscan, "found"),
    "hdbscan": Method(hdbscan, "found"),
    "finch": Method(finch),
    "videoclusternet": Method(None, "found", by_faces=own_thresholds),
}

__all__ = [
    "METHODS",
    "UNMEASURED",
    "Characters",
    "Clusterer",
    "Clustering",
    "Distances",
    "FaceSets",
    "Method",
    "Odds",
    "Spread",
    "average_linkage",
    "average_linkage_twice",
    "complete_linkage",
    "confidence_of",
    "doubted",
    "drawn_to_neighbours",
    "find_characters",
    "own_thresholds",
    "ward_linkage",
    "weigh",
    "within",
]
