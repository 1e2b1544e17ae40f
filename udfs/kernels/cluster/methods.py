"""The methods of clustering by name. A new one is a function like `interface.Clusterer` and one more entry here."""

from udfs.kernels.cluster.baselines import affinity_propagation, dbscan, finch, hdbscan, k_means
from udfs.kernels.cluster.hac import average_linkage, average_linkage_twice, complete_linkage, ward_linkage
from udfs.kernels.cluster.interface import Method
from udfs.kernels.cluster.own_thresholds import own_thresholds
from udfs.kernels.cluster.videoclusternet import by_loss

METHODS: dict[str, Method] = {
    "castmine": Method(average_linkage_twice, smoothed=True),
    "hac_average": Method(average_linkage),
    "hac_complete": Method(complete_linkage, "given", any_length=True),
    "hac_ward": Method(ward_linkage, "given", any_length=True),
    "k_means": Method(k_means, "given"),
    "affinity_propagation": Method(affinity_propagation, "found"),
    "dbscan": Method(dbscan, "found"),
    "hdbscan": Method(hdbscan, "found"),
    "finch": Method(finch),
    "own_thresholds": Method(None, "found", by_faces=own_thresholds),
    "videoclusternet": Method(None, "found", by_faces=by_loss, by_answers=True),
}
