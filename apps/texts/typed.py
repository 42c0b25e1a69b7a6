"""Written by hand: what pydantic says of a value as it reaches a form, and what records of the plane hold in English."""

from django.utils.translation import gettext_noop as _

TYPED = (
    _("Extra inputs are not permitted"),
    _("Field required"),
    _("Input should be a finite number"),
    _("Input should be a valid array"),
    _("Input should be a valid boolean"),
    _("Input should be a valid boolean, unable to interpret input"),
    _("Input should be a valid integer"),
    _("Input should be a valid integer, got a number with a fractional part"),
    _("Input should be a valid integer, unable to parse string as an integer"),
    _("Input should be a valid list"),
    _("Input should be a valid number"),
    _("Input should be a valid number, unable to parse string as a number"),
    _("Input should be a valid string"),
    _("Input should be an object"),
    _("Input should be greater than {0}"),
    _("Input should be greater than or equal to {0}"),
    _("Input should be less than {0}"),
    _("Input should be less than or equal to {0}"),
    _("Input should be {0}"),
    _("Input should be {0} or {1}"),
    _("List should have at least {0} item after validation, not {1}"),
    _("List should have at least {0} items after validation, not {1}"),
    _("List should have at most {0} item after validation, not {1}"),
    _("List should have at most {0} items after validation, not {1}"),
    _("String should have at least {0} character"),
    _("String should have at least {0} characters"),
    _("String should have at most {0} character"),
    _("String should have at most {0} characters"),
    _("Unable to parse input string as an integer, exceeded maximum size"),
    _("The table has {0} rows."),  # deepseek/clean/expectations.py, of a row count that does not hold
    _("row {0}: {1}"),  # the same module: the first rows that break an expectation, as many as it shows
    _("row {0}: {1}; row {2}: {3}"),
    _("row {0}: {1}; row {2}: {3}; row {4}: {5}"),
    _("row {0}: {1}; row {2}: {3}; row {4}: {5}; row {6}: {7}"),
    _("row {0}: {1}; row {2}: {3}; row {4}: {5}; row {6}: {7}; row {8}: {9}"),
    _("as in row {0}"),
    _("last value"),  # baselines
    _("mean"),
    _("most frequent class"),
    _("bootstrap"),  # how an interval was made
    _("block bootstrap"),
    _("paired bootstrap"),
    _("paired block bootstrap"),
    _("from {0} to {1}"),  # slices (deepseek/evaluate/slices.py)
    _("above {0} to {1}"),
    _("other values"),
    _("batch {0}"),  # a latency's name in the facts of a promotion
    _("{0} to production"),  # its title
    # In records of jobs that ended before one vocabulary named the faults of a CSV file.
    _("The file is in no one encoding: byte {0} is not valid utf-8, byte {1} is not valid gb18030."),
    _("Parts of the file were written in different encodings: convert each part before they are put together."),
    _("Quote cells that contain the delimiter {0}, or choose the right delimiter."),
    _("1 or more"),  # limits
    _("1 to 500 characters"),
    _("a node with it"),
    _("lower-case letters, digits and hyphens, up to {0}"),
    _("nothing"),
)

TABS = (_("Trail"), _("Chain"))  # in the title of a window: no tab of a page is written so
WORDS = (_("microseconds"), _("milliseconds"), _("missing"))  # of the engine, inside a sentence
