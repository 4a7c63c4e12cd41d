"""The values in the examples of the pages, which no code holds."""

from __future__ import annotations

EXAMPLES = {
    "seeds": "3",
    "dataset": "digits",
    "model": "{name: mlp, hidden: [64]}",
    "shadows": "8",
    "sparsifiers": "[dense, {name: imp, rounds: 8}]",
    "defenses": "[none, {name: relaxloss, alpha: 0.3}]",
    "attacks": "[loss, {name: rmia, label: ours}]",
    "shadow_sparsifier": "none",
    "shadow_defense": "{name: label_smoothing, smoothing: 0.2}",
    "plugins": "[./margin.py]",
    "gates": "[auc<0.6, {gate: tpr@0.01<0.05, attacks: [loss]}]",
    "accept_doubts": "[rounded]",
    "split.protocol": "halves",
    "split.members": "500",
    "split.validation": "0.2",
    "split.reference": "100",
    "split.targets": "all",
    "split.canaries": "{count: 200, kind: blank}",
    "training.milestones": "[150, 225]",
    "target.checkpoint": "model.safetensors",
    "target.members": "{name: arrays, path: members.npz}",
    "target.non_members": "{name: arrays, path: others.npz}",
    "target.normalise": "{mean: [0.5], std: [0.25]}",
    "target.accuracy": "{members: 0.99, non_members: 0.9}",
}
"""What is written after a key, where its type does not show it."""

NEEDED = {
    "path": "rows.npz",
    "image_folder.path": "photographs",
    "table.path": "people.csv",
    "repository": "owner/name",
    "revision": "0123456789abcdef" * 2 + "01234567",
    "architecture": "resnet18",
    "weights": "{hidden1.weight: [[0.5, 0], [0, 1]]}",
}
"""Options that a recipe must give: what a line that names the plugin gives."""
