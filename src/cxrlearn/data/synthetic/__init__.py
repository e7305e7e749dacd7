"""Labelled made-up radiographs: a parametric thorax with findings of graded difficulty.

`film.make_radiograph` draws one film, `cohort.draw_cohort` decides who has what, and
`dataset.write_demo_dataset` writes files and CSVs. Nothing here looks like a particular person.
"""
