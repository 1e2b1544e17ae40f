"""Names from photographs, on titles whose people are known: how many are right, how many wrong.

COMPOSITE holds tracks/, faces/ and truth/ with a Parquet file a title, as for `tests.bench.adaptation`; the truth names
the person of each track. PHOTOGRAPHS holds a folder of photographs a person. The tracks of composite titles are made of
these photographs: HELD_OUT (csv: title_id, path) lists those that a title does not show, and only they are used, but
they are of the same sessions as those that are shown, so real galleries are harder.

Each title is clustered by the default method, in raw embeddings or in those of one adapter of all titles, made without
a label. The gallery is `all` people, also those who are not in the title; `half`: the same without half of the title's
people; `few`: a quarter of the title's people and nobody else; `strangers`: nobody of the title.

Precision: of the names given, the share that is right. Recall: of the title's people who are in the gallery and have a
character, the share whose name is right somewhere; `of tracks`: the same weighted by their tracks.

  python -m tests.bench.names composite COMPOSITE PHOTOGRAPHS HELD_OUT
  python -m tests.bench.names demo                     the demo film, by photographs that it does not show
"""
