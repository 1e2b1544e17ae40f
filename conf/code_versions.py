"""How often a job's results have changed: raise its number when it makes other rows of the same input."""

FORMAT = 4  # of a lake: raise it when tables or columns are added. Types and meanings never change; 1 had no number

CODE_VERSIONS = {
    "harvest": 6,  # the rows of an unchanged film
    "import": 1,  # the rows of unchanged files
    "mine": 3,  # the rows of unchanged tracks
    "train": 6,  # the adapter of the same snapshot and settings
    "finetune": 2,  # the network of the same crops and settings
    "cluster": 8,  # the labels of unchanged tracks
    "evaluate": 5,  # the figures of unchanged labels
    "report": 1,  # the sheets of unchanged characters
}
