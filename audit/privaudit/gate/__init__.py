"""Gates of a release pipeline: limits that an audit must keep, or the release stops.

A gate fails closed. It looks at the confidence limit that speaks against the network, never at
the estimate, and in both directions: scores that put members last tell them as well. It takes
every attack; a number that is not known breaks it, and so does a doubt that nobody has accepted.
"""

from privaudit.gate.limit import Gate as Gate
from privaudit.gate.limit import parse_gate as parse_gate
from privaudit.gate.verdict import Told as Told
from privaudit.gate.verdict import Verdict as Verdict
from privaudit.gate.verdict import judge as judge
