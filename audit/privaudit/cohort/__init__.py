"""Cohorts: many models of one architecture, trained together."""

from privaudit.cohort.trainable import Cohort as Cohort
from privaudit.store.journal import Journal as Journal
