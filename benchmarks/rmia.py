"""What RMIA finds by γ, temperature and softmax, beside LiRA: the evidence for its defaults.

    python -m benchmarks.rmia --location30 FILE --cifar10 FOLDER
    python -m benchmarks.rmia --only digits --shadows 2,8

Networks in complementary pairs train on real data once and stay in `--cache`; without --location30
(a CSV file, packed or not) or --cifar10 (a folder of CLASS/IMAGE files) their rows are left out.
Each of the first networks is the target in turn. The numbers are means over these targets: AUC,
and the share of members found at 1 % false alarms in %.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks._cohorts import WORKS, Data, Trained, add_data, trained
from benchmarks._device import add_device
from privaudit import Attack, PrivauditError
from privaudit.statistics.metrics import roc_auc, tpr_at_fpr
from privaudit_plugins.attacks.lira import LiRA
from privaudit_plugins.attacks.rmia import RMIA

ATTACKS: dict[str, Attack] = {
    "γ 2, T 1": RMIA(gamma=2, temperature=1, ties="keep"),
    "γ 1.2, T 1": RMIA(gamma=1.2, temperature=1, ties="keep"),
    "γ 1, T 1": RMIA(gamma=1, temperature=1, ties="keep"),
    "γ 2, T 2": RMIA(gamma=2, temperature=2, ties="keep"),
    "γ 1, T 2": RMIA(gamma=1, temperature=2, ties="keep"),
    "T 2": RMIA(temperature=2),
    "T 3": RMIA(temperature=3),
    "T 4": RMIA(temperature=4),
    "Taylor, T 2": RMIA(softmax="taylor", temperature=2),
    "default": RMIA(),
    "LiRA, global": LiRA(variance="global"),
    "LiRA, per example": LiRA(variance="per_example"),
    "offline: γ 2, T 1": RMIA(mode="offline", gamma=2, temperature=1, ties="keep"),
    "offline: default": RMIA(mode="offline"),
    "offline: a tuned": RMIA(mode="offline", a="tune"),
    "offline: LiRA": LiRA(mode="offline", variance="global"),
}


def measured(networks: Trained, attack: Attack, shadows: int, targets: int) -> str:
    """AUC and TPR at 1 % as the table has them; a dash where the shadows are too few."""
    auc, tpr = [], []
    for target in range(targets):
        signals, member = networks.attacked(target, shadows)
        try:
            score = attack.score(signals).score[signals.audited].numpy()
        except PrivauditError:
            return "–"
        auc.append(roc_auc(score, member).value)
        share = tpr_at_fpr(score, member, 0.01)
        tpr += [] if share is None else [share.value]
    found = f"{100 * sum(tpr) / targets:.1f}" if tpr else "–"  # too few non-members
    return f"{sum(auc) / targets:.3f}, {found}"


def main() -> None:
    """Print a Markdown table, a row for each set of networks and number of shadows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_data(parser)
    parser.add_argument("--only", default="", help="works whose name begins so")
    parser.add_argument("--shadows", default="2,8,32")
    parser.add_argument("--targets", type=int, default=8)
    add_device(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Data.of(options)
    print("| networks | shadows | " + " | ".join(ATTACKS) + " |")
    print("| --- | --- |" + " --- |" * len(ATTACKS), flush=True)
    for name, work in WORKS.items():
        if not name.startswith(options.only) or not work.available(data):
            continue
        networks = trained(work, data, options.device)
        for shadows in map(int, options.shadows.split(",")):
            if shadows + 2 > len(networks.role):
                continue
            cells = [measured(networks, a, shadows, options.targets) for a in ATTACKS.values()]
            print(f"| {name} | {shadows} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
