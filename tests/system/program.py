"""The program on several ranks, and a list of what was found wrong, for tests that go on after a failure."""
import subprocess


def on_ranks(launcher, ranks):
    """The words that start a program on so many ranks; RANKS among those of the launcher stands for the number. One rank needs
    no launcher, which takes longer to start than the program does."""
    return [] if ranks == 1 else [str(ranks) if word == "RANKS" else word for word in launcher]


class Program:
    def __init__(self, rankine, launcher):
        self.rankine, self.launcher, self.failures = rankine, launcher, []

    def run(self, ranks, *arguments):
        return subprocess.run([*on_ranks(self.launcher, ranks), self.rankine, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    def expect(self, what, condition, output=""):
        if not condition:
            self.failures.append(f"{what}\n{output}")
