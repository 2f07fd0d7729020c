"""Jobs at disks, consignments and cargo: every pair of state and event, and the numbers of the contract."""

from __future__ import annotations

import itertools

import pytest

from librarian.api.shipment.v1 import shipment_pb2 as pb
from librarian.errors import IllegalTransition
from transfer_svc.shipping.lifecycle import (
    CARGO,
    CONSIGNMENT,
    JOB,
    OVER,
    SETTLED,
    TRAVELLING,
    CargoEvent,
    CargoState,
    ConsignmentEvent,
    ConsignmentState,
    JobEvent,
    JobKind,
    JobState,
)

J, JE = JobState, JobEvent
C, CE = ConsignmentState, ConsignmentEvent
G, GE = CargoState, CargoEvent

JOB_LEGAL = {
    (J.WAITING, JE.CLAIM): J.RUNNING,
    (J.RUNNING, JE.CLAIM): J.RUNNING,
    (J.RUNNING, JE.PUT_OFF): J.WAITING,
    (J.RUNNING, JE.FINISH): J.DONE,
    (J.WAITING, JE.FAIL): J.FAILED,
    (J.RUNNING, JE.FAIL): J.FAILED,
    (J.WAITING, JE.CANCEL): J.CANCELLED,
    (J.RUNNING, JE.CANCEL): J.CANCELLED,
}
CONSIGNMENT_LEGAL = {
    (C.PLANNED, CE.PACK): C.PACKING,
    (C.PACKING, CE.SEAL): C.SEALED,
    (C.SEALED, CE.DEPART): C.IN_TRANSIT,
    (C.SEALED, CE.ARRIVE): C.ARRIVED,
    (C.IN_TRANSIT, CE.ARRIVE): C.ARRIVED,
    (C.LOST, CE.ARRIVE): C.ARRIVED,
    (C.SEALED, CE.READ): C.READING,
    (C.IN_TRANSIT, CE.READ): C.READING,
    (C.ARRIVED, CE.READ): C.READING,
    (C.RECONCILED, CE.READ): C.READING,
    (C.LOST, CE.READ): C.READING,
    (C.READING, CE.RECONCILE): C.RECONCILED,
    (C.SEALED, CE.RECONCILE): C.RECONCILED,
    (C.IN_TRANSIT, CE.RECONCILE): C.RECONCILED,
    (C.ARRIVED, CE.RECONCILE): C.RECONCILED,
    (C.LOST, CE.RECONCILE): C.RECONCILED,
    (C.RECONCILED, CE.RELEASE): C.RELEASED,
    (C.LOST, CE.RELEASE): C.RELEASED,
    (C.SEALED, CE.LOSE): C.LOST,
    (C.IN_TRANSIT, CE.LOSE): C.LOST,
    (C.ARRIVED, CE.LOSE): C.LOST,
    (C.READING, CE.LOSE): C.LOST,
    (C.PLANNED, CE.CANCEL): C.CANCELLED,
    (C.PACKING, CE.CANCEL): C.CANCELLED,
    (C.SEALED, CE.CANCEL): C.CANCELLED,
}
READ_AT_THE_OTHER_END = (G.PACKED, G.REQUEUED, G.CORRUPT, G.MISSING, G.UNSIGNED, G.REFUSED)
CARGO_LEGAL = {
    (G.ASSIGNED, GE.COPY): G.PACKED,
    **{(state, GE.TAKE_IN): G.OK for state in READ_AT_THE_OTHER_END},
    **{(state, GE.FIND): G.PRESENT for state in READ_AT_THE_OTHER_END},
    **{(state, GE.DAMAGE): G.CORRUPT for state in READ_AT_THE_OTHER_END},
    **{(state, GE.MISS): G.MISSING for state in READ_AT_THE_OTHER_END},
    **{(state, GE.QUARANTINE): G.UNSIGNED for state in READ_AT_THE_OTHER_END},
    **{(state, GE.REFUSE): G.REFUSED for state in READ_AT_THE_OTHER_END},
    (G.ASSIGNED, GE.REQUEUE): G.REQUEUED,
    (G.PACKED, GE.REQUEUE): G.REQUEUED,
    (G.CORRUPT, GE.REQUEUE): G.REQUEUED,
    (G.MISSING, GE.REQUEUE): G.REQUEUED,
    (G.UNSIGNED, GE.REQUEUE): G.REQUEUED,
    (G.REFUSED, GE.REQUEUE): G.REQUEUED,
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(J, JE)))
def test_every_pair_of_a_job(state: J, event: JE) -> None:
    if (state, event) in JOB_LEGAL:
        assert JOB.move(state, event) is JOB_LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransition):
            JOB.move(state, event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(C, CE)))
def test_every_pair_of_a_consignment(state: C, event: CE) -> None:
    if (state, event) in CONSIGNMENT_LEGAL:
        assert CONSIGNMENT.move(state, event) is CONSIGNMENT_LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransition):
            CONSIGNMENT.move(state, event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(G, GE)))
def test_every_pair_of_cargo(state: G, event: GE) -> None:
    if (state, event) in CARGO_LEGAL:
        assert CARGO.move(state, event) is CARGO_LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransition):
            CARGO.move(state, event)


def test_they_say_what_the_contract_says() -> None:
    for job in J:
        assert pb.JobState.Name(job) == f"JOB_STATE_{job.name}"
    for kind in JobKind:
        assert pb.JobKind.Name(kind) == f"JOB_KIND_{kind.name}"
    for consignment in C:
        assert pb.ConsignmentState.Name(consignment) == f"CONSIGNMENT_STATE_{consignment.name}"
    for cargo in G:
        assert pb.CargoState.Name(cargo) == f"CARGO_STATE_{cargo.name}"
    assert set(JOB.why) == set(JE)
    assert set(CONSIGNMENT.why) == set(CE)
    assert set(CARGO.why) == set(GE)


def test_what_the_words_for_several_states_mean() -> None:
    assert set(TRAVELLING) == {state for state in C if CONSIGNMENT.allows(state, CE.LOSE)}
    assert set(OVER) >= CONSIGNMENT.final
    # Nothing is owed for what has its receipt or is in the queue again.
    assert not any(CARGO.allows(state, GE.REQUEUE) for state in SETTLED)
