from transformer.decoding.remarks import collected, remark


def test_remarks_are_logged_at_once_or_added_up(caplog):
    remark("lines cut", [])
    remark("lines cut", [4, 7])
    assert caplog.messages == ["lines cut: 2 (first: line 4)"]
    caplog.clear()
    with collected() as remarks:
        remark("lines cut", [3])
        remark("unknown words", [5, 6])
        remark("lines cut", [8, 9])
    assert not caplog.messages
    remarks.report()
    assert caplog.messages == ["lines cut: 3 (first: line 3)", "unknown words: 2 (first: line 5)"]
