"""The embedded engine with one seed for all answers: which words it draws decides no test."""

import xllamacpp

from gateway.upstream.engines import llamacpp

drawn = xllamacpp.CommonParams


def seeded() -> xllamacpp.CommonParams:
    params = drawn()
    params.sampling.seed = 1
    return params


xllamacpp.CommonParams = seeded
llamacpp.main()
