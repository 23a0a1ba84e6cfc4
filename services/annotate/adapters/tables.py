"""The tables of annotate's database.

`board` depends on the log alone and is built anew from it; `cache` comes from immutable objects and
may be emptied at any time; `desk` is work that is not in the log yet: who holds what, drafts.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, MetaData, String, Table, Text
from sqlalchemy import LargeBinary as Binary


def _item_key() -> tuple[Column[str], Column[str]]:
    """Return the key of rows about an item of a job."""
    return Column("job", String, primary_key=True), Column("asset", String(64), primary_key=True)


def _labels() -> tuple[Column[str], Column[str], Column[float]]:
    """Return what is said of an item: shapes and tags as JSON, and the time it took."""
    return (
        Column("shapes", Text, nullable=False),
        Column("tags", Text, nullable=False),
        Column("spent_s", Float, nullable=False),
    )


board = MetaData()
jobs = Table(
    "annotate_jobs",
    board,
    Column("job", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("state", String, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("specification", Binary, nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("opened_at", String, nullable=False),
    Column("changed_at", String, nullable=False),
    Column("counts", Text, nullable=False),  # JSON: items by state
    Column("settled_sequence", BigInteger, nullable=False),
)
submissions = Table(
    "annotate_submissions",
    board,
    *_item_key(),
    Column("labeler", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    *_labels(),
    Column("submitted_at", String, nullable=False),
    Column("by_reviewer", Boolean, nullable=False),
    Column("ground_truth", Boolean, nullable=False),
    Column("shown", Text),  # JSON: what a model showed for this item alone
    Column("shown_by", String, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)
results = Table(
    "annotate_results",
    board,
    *_item_key(),
    Column("state", String, nullable=False),
    Column("round_after", BigInteger, nullable=False),
    Column("submissions", BigInteger, nullable=False),
    Column("labelers", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    *_labels(),
    Column("agreement", Float),
    Column("reviewer", String, nullable=False),
    Column("comment", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("changed_at", String, nullable=False),
)
Index("annotate_results_state", results.c.job, results.c.state)

cache = MetaData()
items = Table(
    "annotate_job_items",
    cache,
    *_item_key(),
    Column("position", BigInteger, nullable=False),
    Column("width_px", BigInteger, nullable=False),
    Column("height_px", BigInteger, nullable=False),
    Column("media_type", String, nullable=False),
    Column("predicted", Text),
    Column("predicted_by", String, nullable=False),
    Column("truth", Text),  # JSON: the shapes of an item that scores labelers
    Column("existing", Text),  # JSON: what the dataset version says, where labelers start from it
)
Index("annotate_job_items_position", items.c.job, items.c.position)
filled = Table(
    "annotate_job_items_filled",
    cache,
    Column("job", String, primary_key=True),
    Column("version", BigInteger, primary_key=True),  # of the commit that brought the items
    Column("items", BigInteger, nullable=False),
)

desk = MetaData()
places = Table(
    "annotate_places",
    desk,
    *_item_key(),
    Column("position", BigInteger, nullable=False),
    Column("truth", Boolean, nullable=False),
    # What can be done about the item: "label", "review" or "". Follows the board.
    Column("wants", String, nullable=False),
    Column("rank", BigInteger, nullable=False),  # items that were sent back come first
    Column("round_after", BigInteger, nullable=False),
    Column("holder", String, nullable=False),
    Column("held_for", String, nullable=False),  # "label" or "review"
    Column("held_until", Float, nullable=False),  # seconds since the epoch
    Column("held_version", BigInteger, nullable=False),  # the item's labels when it was taken
)
Index(
    "annotate_places_next", places.c.job, places.c.wants, places.c.truth, places.c.rank,
    places.c.position,
)  # fmt: skip
Index("annotate_places_holder", places.c.job, places.c.holder)
skips = Table(
    "annotate_skips",
    desk,
    *_item_key(),
    Column("person", String, primary_key=True),
)
drafts = Table(
    "annotate_drafts",
    desk,
    *_item_key(),
    Column("person", String, primary_key=True),
    *_labels(),
    Column("revision", BigInteger, nullable=False),
    Column("saved_at", String, nullable=False),
)
suggestions = Table(
    "annotate_suggestions",
    desk,
    *_item_key(),
    Column("shapes", Text, nullable=False),
    Column("model", String, nullable=False),  # name
    Column("version", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("made_at", String, nullable=False),
)
