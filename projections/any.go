package projections

import "docket/domain"

// PutAny stores the row that fn makes of an event, for each of the given event
// types. It is for read models about events themselves, such as an audit trail.
func PutAny[R any](table *Table[R], events []domain.Event, fn func(e domain.Event, rec Rec) R) Part {
	parts := make(Parts, len(events))
	for i, e := range events {
		parts[i] = &handler{
			table: table.core, kind: "put any", eventType: e.EventType(),
			plan: func(w *wants, e domain.Event, rec Rec) any {
				row := fn(e, rec)
				w.made(table.core, table.keyOf(&row))
				return &row
			},
			apply: func(f *fold, e domain.Event, rec Rec, memo any) {
				row, planned := memo.(*R)
				if !planned {
					made := fn(e, rec)
					row = &made
				}
				fresh := *row // a copy: the fold may run again from the same memo
				f.read(table.core).put(&fresh)
			},
		}
	}
	return parts
}
