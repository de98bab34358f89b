"""The outcome of a bench: rows, each with its goal, and how they are printed."""

HOLDS = {True: "holds", False: "FAILS", None: ""}


class Report:
    """Rows of one bench. `judge` is off where native runs against native."""

    def __init__(self, name, about, judge):
        self.name, self.about, self.judge = name, about, judge
        self.rows = []
        self.raw = {}
        self.markdown = None  # a finished table for the README, if the bench makes one
        self.seconds = 0.0

    def row(self, what, native, preloaded, figure, goal="", holds=None):
        """native and preloaded are texts; figure is what the goal is about."""
        self.rows.append({
            "what": what,
            "native": native,
            "preloaded": preloaded,
            "figure": figure,
            "goal": goal,
            "holds": bool(holds) if self.judge and holds is not None else None,
        })

    def skip(self, what, why):
        self.rows.append({"what": what, "native": "", "preloaded": "",
                          "figure": "skipped", "goal": str(why), "holds": None})

    def failed(self):
        return [r for r in self.rows if r["holds"] is False]

    def document(self):
        return {"about": self.about, "seconds": round(self.seconds, 1),
                "rows": self.rows, "raw": self.raw}

    def text(self):
        heads = ("what", "native", "preloaded", "figure", "goal", "")
        lines = [heads]
        for r in self.rows:
            lines.append((r["what"], r["native"], r["preloaded"], r["figure"],
                          r["goal"], HOLDS[r["holds"]]))
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        out = [f"== {self.name}: {self.about} ({self.seconds:.0f} s)"]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths))
            out.append("  ".join(cells).rstrip())
        return "\n".join(out)


def rate(value):
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s"


def times(value):
    return f"{value:,.0f}x" if value >= 100 else f"{value:.2f}x"


def ms(seconds):
    return f"{seconds * 1e3:.2f} ms"


def us(value):
    return f"{value:,.0f} us"
