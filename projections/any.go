package projections

import "docket/domain"

// PutAny stores the row that fn makes of an event's record, for each of the given
// event types. It is for read models about events themselves, such as an audit
// trail. What the event says is not decoded, so that it need not be sound.
func PutAny[R any](table *Table[R], events []domain.Event, fn func(rec Rec) R) Part {
	parts := make(Parts, len(events))
	for i, e := range events {
		parts[i] = &handler{
			table: table.core, kind: "put any", eventType: e.EventType(), undecoded: true,
			plan: func(w *wants, _ domain.Event, rec Rec) any {
				row := fn(rec)
				w.made(table.core, table.keyOf(&row))
				return &row
			},
			apply: func(f *fold, _ domain.Event, rec Rec, memo any) {
				row, planned := memo.(*R)
				if !planned {
					made := fn(rec)
					row = &made
				}
				fresh := *row // a copy: the fold may run again from the same memo
				f.read(table.core).put(&fresh)
			},
		}
	}
	return parts
}
