"""A captured tree's share of cycles in page walks: what was seen of its walks, at a machine's price of one."""

import dataclasses

import numpy as np

from thpsweep.linux.activity import walks
from thpsweep.model.capture.activity import WALKS, Activity, Rate
from thpsweep.model.capture.layout import Layout
from thpsweep.model.machines.profile import Profile


def walk_share(layout: Layout, machine: Profile) -> Rate | None:
    """Price the walks of a layout; None where none were counted."""
    if layout.activity is None or WALKS not in layout.activity.rates:
        return None
    n_ptes = int(np.bitwise_count(layout.present[~layout.huge]).sum(dtype=np.int64))
    return walks.share(layout.activity.rates[WALKS], machine, n_ptes)


def priced(layout: Layout, machine: Profile) -> Layout:
    """File the share with the layout, where walks were counted."""
    share = walk_share(layout, machine)
    if share is None or layout.activity is None:
        return layout
    activity = layout.activity
    rates = {**activity.rates, "page_walk_share": share}
    return dataclasses.replace(layout, activity=Activity(activity.watched_s, rates, activity.unseen))
