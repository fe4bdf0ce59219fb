"""Tables and plots of Rankine's results: `rankine-analysis report results.h5`."""

from .results import Results, ResultsError, Run

__all__ = ["Results", "ResultsError", "Run"]
__version__ = "0.1.0"
