use super::*;

fn name(text: &str) -> Name {
    Arc::from(text.as_bytes())
}

fn hold(token: u64, until_us: u64) -> Hold {
    Hold { token, until_us, ms: 1 }
}

#[test]
fn a_lock_goes_from_hand_to_hand() {
    let (mut locks, door) = (Locks::default(), name("door"));
    assert!(locks.is_unread(&door));
    locks.found(&door, Found::Nothing);
    assert!(locks.may_take(&door, 0));
    locks.hold(&door, hold(1, 100));
    assert!(!locks.is_unread(&door) && !locks.may_take(&door, 99) && locks.may_take(&door, 100));
    (10..13).for_each(|ticket| locks.wait(&door, ticket));
    assert!(!locks.may_take(&door, 100), "others came first");
    locks.leave(10);
    assert_eq!((locks.next_due(), locks.release(&door, 2, 50), locks.release(&door, 1, 50)), (None, false, true));
    assert_eq!(locks.next_due(), Some((door.clone(), 11)));
    assert!(!locks.may_take(&door, 50));
    locks.hold(&door, hold(2, 200));
    locks.leave(11);
    assert_eq!((locks.next_due(), locks.release(&door, 1, 60)), (None, false));
    assert_eq!((locks.end_next(199), locks.end_next(200)), (None, Some((door.clone(), hold(2, 200)))));
    assert_eq!((locks.next_due(), locks.end_next(200)), (Some((door.clone(), 12)), None));
    locks.leave(12);
    assert_eq!((locks.next_due(), locks.held_len(), locks.waiting_len(), locks.is_unread(&door)), (None, 0, 0, true));
    assert!(locks.locks.is_empty());
}

#[test]
fn what_is_over_is_not_extended_nor_given_back() {
    let (mut locks, door) = (Locks::default(), name("door"));
    locks.hold(&door, hold(1, 100));
    assert!(!locks.extend(&door, hold(2, 300), 50), "another's token");
    assert!(locks.extend(&door, hold(1, 300), 99));
    assert_eq!((locks.held(&door, 299), locks.held(&door, 300)), (Some(hold(1, 300)), None));
    assert!(!locks.extend(&door, hold(1, 400), 300) && !locks.release(&door, 1, 300));
    assert_eq!(locks.next_end_us(), Some(300));
}

#[test]
fn what_another_hand_has_touched_is_looked_at_again() {
    let (mut locks, door, gate) = (Locks::default(), name("door"), name("gate"));
    locks.hold(&door, hold(1, 100));
    locks.hold(&gate, hold(2, 100));
    locks.wait(&door, 7);
    locks.touched(&door);
    locks.touched(&name("other"));
    assert_eq!((locks.next_due(), locks.is_unread(&door)), (Some((door.clone(), 7)), true));
    locks.found(&door, Found::Strange);
    assert_eq!((locks.next_due(), locks.is_unread(&door), locks.may_take(&door, 0)), (None, true, false));
    locks.touched(&door);
    locks.found(&door, Found::Held(hold(5, 50)));
    assert_eq!((locks.next_due(), locks.held(&door, 0)), (None, Some(hold(5, 50))));
    let before = locks.forget_all();
    assert_eq!((before.held_len(), locks.held_len(), locks.waiting_len()), (2, 0, 1));
    assert_eq!((locks.next_due(), locks.is_unread(&gate)), (Some((door, 7)), true));
}
