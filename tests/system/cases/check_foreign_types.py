"""The second half of check_foreign_sets.py."""
import cases
from check_foreign_sets import check_kinds

if __name__ == "__main__":
    cases.main(check_kinds)
