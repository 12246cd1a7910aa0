//! An address that goes from pod to pod within seconds: reports of them are late, and come in any order.

use proptest::prelude::*;

use super::super::holdings::{DELAY, SKEW};
use super::*;

const ADDRESS: &str = "10.0.0.1";
const WINDOW: u32 = 100_000;

/// One that held the address, in seconds since the one before gave it back.
#[derive(Clone, Debug)]
struct Tenant {
    /// The address was free for so long.
    free: Seconds,
    /// The pod was made so long before it got the address.
    waited: Seconds,
    held: Seconds,
    /// Its containers end, and it is deleted so long after; else it is deleted.
    kept: Option<Seconds>,
    /// The errors of the API server's and of the node's clock, in seconds more than [`SKEW`].
    skews: [Seconds; 2],
    /// The delays of the reports that it was created, has the address, has ended, was deleted.
    delays: [Seconds; 4],
    /// What comes first of what comes in the same second.
    order: u8,
    /// Its first report has its address.
    is_told_late: bool,
}

fn tenant(max_delay: Seconds) -> impl Strategy<Value = Tenant> {
    let delays = prop::array::uniform4(0..=max_delay);
    let times = (0_u64..8, 0_u64..60, 1_u64..60, prop::option::of(0_u64..40));
    let skews = prop::array::uniform2(0..=2 * Seconds::from(SKEW));
    (times, skews, delays, any::<u8>(), any::<bool>()).prop_map(
        |((free, waited, held, kept), skews, delays, order, is_told_late)| Tenant {
            free,
            waited,
            held,
            kept,
            skews,
            delays,
            order,
            is_told_late,
        },
    )
}

/// What happened: when a pod was made, held the address, and when that was reported.
#[derive(Debug)]
struct Truth {
    made: Seconds,
    start: Seconds,
    end: Seconds,
    reported: Seconds,
    reported_end: Seconds,
}

/// A delivery: its time, the pod's order, the pod, its number among the changes of that pod, and the change.
type Delivery = (Seconds, u8, u32, usize, Change);

fn history(tenants: &[Tenant], is_last_there: bool) -> (Vec<Truth>, Vec<Delivery>) {
    let (mut truths, mut deliveries, mut free_since) = (Vec::new(), Vec::new(), START);
    let skew = Seconds::from(SKEW);
    for (number, tenant) in (0..).zip(tenants) {
        let start = free_since + tenant.free;
        let (made, end) = (start - tenant.waited, start + tenant.held);
        free_since = end;
        let with = |addresses| pod(number, made + tenant.skews[0] - skew, addresses);
        let noted = (end + tenant.skews[1] - skew).max(start);
        let ended = Pod { until: Some(noted), has_ended: true, ..with(&[ADDRESS]) };
        let sent = |pod| Change::ApplyPod(Box::new(pod));
        let mut events = vec![(made, sent(with(&[]))), (start, sent(with(&[ADDRESS])))];
        if tenant.is_told_late {
            events.remove(0);
        }
        let is_there = is_last_there && truths.len() + 1 == tenants.len();
        if let Some(kept) = tenant.kept.filter(|_| !is_there) {
            events.push((end, sent(ended)));
            events.push((end + kept, Change::Delete(Kind::Pod, uid_text(number).into())));
        } else if !is_there {
            events.push((end, Change::Delete(Kind::Pod, uid_text(number).into())));
        }
        let end = if is_there { Seconds::MAX } else { end };
        let mut last = 0;
        let mut truth = Truth { made, start, end, reported: 0, reported_end: Seconds::MAX };
        for (at, ((time, change), delay)) in events.into_iter().zip(tenant.delays).enumerate() {
            last = last.max(time + delay);
            match &change {
                Change::ApplyPod(pod) if !pod.has_ended && !pod.addresses.is_empty() => truth.reported = last,
                Change::ApplyPod(pod) if pod.addresses.is_empty() => {}
                _ => truth.reported_end = truth.reported_end.min(last),
            }
            deliveries.push((last, tenant.order, number, at, change));
        }
        truths.push(truth);
    }
    deliveries.sort_by_key(|(time, order, number, at, _)| (*time, *order, *number, *at));
    (truths, deliveries)
}

fn holder_of(truths: &[Truth], at: Seconds) -> Option<(usize, &Truth)> {
    truths.iter().enumerate().find(|(_, truth)| truth.start < at && at < truth.end)
}

/// Whether this pod must be found: it is certain by what was reported, or there is no other candidate.
fn is_to_be_found(truths: &[Truth], number: usize, at: Seconds, now: Seconds) -> bool {
    let (skew, delay) = (Seconds::from(SKEW), Seconds::from(DELAY));
    let truth = &truths[number];
    if truth.reported <= at && at + delay + 2 * skew <= truth.end.min(now) {
        return true;
    }
    let may_hold = |other: &Truth| (other.made - 2 * skew..=other.reported_end).contains(&at);
    truths.iter().enumerate().all(|(other, truth)| other == number || !may_hold(truth))
}

fn check(tenants: &[Tenant], is_last_there: bool, horizon: Seconds) -> Result<(), TestCaseError> {
    let (truths, deliveries) = history(tenants, is_last_there);
    let mut directory = Directory::new(Limits { keep_seconds: WINDOW, ..Limits::default() });
    let mut times = deliveries.iter().map(|delivery| delivery.0).collect::<Vec<_>>();
    let last = times.iter().max().copied().unwrap_or(START);
    times.push(last + 20);
    let mut deliveries = deliveries.into_iter().peekable();
    for now in times {
        while let Some((time, _, _, _, change)) = deliveries.next_if(|delivery| delivery.0 <= now) {
            directory.change(change, time);
        }
        directory.expire(now);
        for at in START..now - horizon {
            let Some((number, truth)) = holder_of(&truths, at) else { continue };
            let name = format!("pod-{number}");
            let found = directory.holder(ip(ADDRESS), at);
            let who = directory.holder_name(ADDRESS, at);
            prop_assert!(who.is_none_or(|who| who == name), "{at} at {now}: {who:?}, not {truth:?}");
            prop_assert!(found.is_none_or(|found| found.since <= truth.start));
            if deliveries.peek().is_none() && is_to_be_found(&truths, number, at, now) {
                prop_assert!(who.is_some(), "{at} at {now}: no holder instead of {number} {truth:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_flow_is_never_given_to_the_wrong_pod(
        tenants in prop::collection::vec(tenant(DELAY.into()), 1..8),
        is_last_there in any::<bool>(),
    ) {
        check(&tenants, is_last_there, DELAY.into())?;
    }

    /// As above, and at once: changes of the same second are reported in any order.
    #[test]
    fn what_is_told_at_once_is_right_at_once(
        tenants in prop::collection::vec(tenant(0), 1..8),
        is_last_there in any::<bool>(),
    ) {
        check(&tenants, is_last_there, 0)?;
    }
}
