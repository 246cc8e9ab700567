// Package printing holds documents and the queues and printers they go through:
// events and states.
//
// What SAFEQ Cloud calls an account is an organization, an input port is a queue
// that documents are sent to, an output port is a printer.
package printing

import "docket/domain"

// Events are all event types of this area.
func Events() []domain.Event {
	return []domain.Event{
		OutputPortCreated{}, OutputPortChanged{}, OutputPortDeleted{},
		InputPortCreated{}, InputPortChanged{}, InputPortDeleted{},
		DocumentReceived{}, DocumentConversionStarted{}, DocumentConversionFailed{}, DocumentReady{},
		DocumentReleaseRequested{}, DocumentPrinted{}, DocumentDeliveryFailed{},
		DocumentDeleted{}, DocumentExpired{}, DocumentRecorded{},
	}
}

// OutputPortStream is the stream of a printer.
func OutputPortStream(id domain.ID) string { return "outputport-" + id.String() }

// InputPortStream is the stream of a queue.
func InputPortStream(id domain.ID) string { return "inputport-" + id.String() }

// DocumentStream is the stream of a document.
func DocumentStream(id domain.ID) string { return "document-" + id.String() }
