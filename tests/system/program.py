"""The program on several ranks, and a list of what was found wrong, for tests that go on after a failure."""
import subprocess


class Program:
    """RANKS among the words of the launcher stands for the number of ranks."""

    def __init__(self, rankine, launcher):
        self.rankine, self.launcher, self.failures = rankine, launcher, []

    def run(self, ranks, *arguments):
        words = [str(ranks) if word == "RANKS" else word for word in self.launcher]
        return subprocess.run([*words, self.rankine, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def expect(self, what, condition, output=""):
        if not condition:
            self.failures.append(f"{what}\n{output}")
