"""Cohorts: many models of one architecture, trained together."""

from privaudit.cohort.cohort import Cohort as Cohort
from privaudit.cohort.journal import Journal as Journal
