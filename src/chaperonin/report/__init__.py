"""The offline report of a job: figures, and one self-contained page that shows them."""

from chaperonin.report.contact_section import write_contact_pictures
from chaperonin.report.figures import (
    contact_map,
    embedding_projection,
    learning_curves,
    length_histogram,
    save_contact_picture,
)
from chaperonin.report.fold_pictures import write_fold_pictures
from chaperonin.report.page import write_report
from chaperonin.report.variant_figures import score_histogram, score_scatter, variant_heat_map

__all__ = [
    "contact_map",
    "embedding_projection",
    "learning_curves",
    "length_histogram",
    "save_contact_picture",
    "score_histogram",
    "score_scatter",
    "variant_heat_map",
    "write_contact_pictures",
    "write_fold_pictures",
    "write_report",
]
