"""Medians over measured iterations, and their table."""
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.floor import Needs

STEPS = ('student', 'generator')


@dataclass
class Iteration:
    """Seconds of one iteration.

    Attributes:
        needs: What decides how often its steps make each pass.
        framework: Seconds by step; ``outside`` is the time of Runner, hooks
            and data outside the steps.
        bare: Seconds of the plain loop by step.
        passes: By step and pass: how often the step needs the pass, and the
            seconds of one pass.
    """

    needs: Needs
    framework: dict[str, float]
    bare: dict[str, float] = field(default_factory=dict)
    passes: dict[str, dict[str, tuple[int,
                                      float]]] = field(default_factory=dict)

    def floor(self, step: str) -> float:
        """The seconds of all passes that a step needed."""
        return sum(count * seconds
                   for count, seconds in self.passes[step].values())


def medians(iterations: Sequence[Iteration], gflop: dict[str, dict[str,
                                                                   float]],
            batch_size: int) -> dict[str, Any]:
    """Medians over iterations. A ratio is the median of all ratios.

    Args:
        iterations: At least one.
        gflop: GFLOP of one pass, by step and pass.
        batch_size: Images per student step.
    """
    last = iterations[-1]
    seconds = sum(last.framework.values())
    return dict(
        iterations=len(iterations),
        rounds=statistics.fmean(each.needs.rounds for each in iterations),
        selected=statistics.fmean(each.needs.selected for each in iterations),
        **_compared([(sum(each.framework.values()), sum(each.bare.values()),
                      sum(map(each.floor, STEPS))) for each in iterations]),
        images_per_second=statistics.median(
            batch_size / each.framework['student'] for each in iterations),
        gflops=sum(last.passes[step][name][0] * gflop[step][name]
                   for step in STEPS for name in last.passes[step]) / seconds,
        steps={
            step:
            dict(
                **_compared([(each.framework[step], each.bare[step],
                              each.floor(step)) for each in iterations]),
                passes={
                    name:
                    dict(
                        times=count,
                        seconds=statistics.median(
                            _seconds(iterations, step, name)),
                        gflop=gflop[step][name])
                    for name, (count, _) in last.passes[step].items()
                })
            for step in STEPS
        },
        outside_s=statistics.median(each.framework['outside']
                                    for each in iterations))


def _compared(times: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    """Compare (framework, bare, floor) seconds of each iteration."""
    framework, bare, floor = map(statistics.median, zip(*times))
    return dict(
        framework_s=framework,
        bare_s=bare,
        floor_s=floor,
        framework_over_bare=statistics.median(one / two
                                              for one, two, _ in times),
        framework_over_floor=statistics.median(one / three
                                               for one, _, three in times))


def _seconds(iterations: Sequence[Iteration], step: str,
             name: str) -> list[float]:
    return [
        each.passes[step][name][1] for each in iterations
        if name in each.passes[step]
    ]


def step_table(report: dict[str, Any]) -> str:
    """The figures of :func:`benchmark_step`, one row per step.

    ``framework`` is the step through Runner and wrappers, ``bare`` the same
    mathematics as a plain loop, and ``floor`` the sum of the passes that the
    step needs. Times and ratios are medians over iterations, so a ratio can
    differ from the ratio of the medians beside it.

    Returns:
        Markdown.
    """
    lines = [
        f'{report["device"]}, {report["threads"]} threads, '
        f'{report["dtype"]}, batch {report["batch_size"]}, median of '
        f'{report["iterations"]} iterations after {report["warmup_s"]:.0f} s '
        f'of warm-up; {report["rounds"]:.2f} rounds '
        f'of candidates per student step, {report["selected"]:.0f} images '
        'selected per generator step', '',
        '| step | framework s | bare s | floor s | framework / bare | '
        'framework / floor |', '| --- | --- | --- | --- | --- | --- |'
    ]
    rows = {f'{name} step': step for name, step in report['steps'].items()}
    for name, row in (rows | {'whole iteration': report}).items():
        lines.append(f'| {name} | {row["framework_s"]:.4f} | '
                     f'{row["bare_s"]:.4f} | {row["floor_s"]:.4f} | '
                     f'{row["framework_over_bare"]:.3f} | '
                     f'{row["framework_over_floor"]:.3f} |')
    lines += [
        '', '| pass | times | seconds each | GFLOP each | GFLOP/s |',
        '| --- | --- | --- | --- | --- |'
    ]
    for name, step in report['steps'].items():
        for pass_, row in step['passes'].items():
            lines.append(f'| {name}: {pass_} | {row["times"]} | '
                         f'{row["seconds"]:.4f} | {row["gflop"]:.2f} | '
                         f'{row["gflop"] / row["seconds"]:.0f} |')
    lines += [
        '', f'outside the steps: {report["outside_s"] * 1e3:.1f} ms; '
        f'{report["images_per_second"]:.1f} images/s in student steps; peak '
        f'memory {report["peak_memory_mib"]:.0f} MiB; '
        f'{report["gflops"]:.0f} GFLOP/s of {report["gflops_peak"]:.0f} in '
        'matrix products'
    ]
    return '\n'.join(lines)
