package eventlog

import "sync"

// wakeups tells waiting cursors that there is something new. A cursor takes its channel before it reads, so that no
// wake-up is lost; publishing closes the channels taken and forgets them.
type wakeups struct {
	mu      sync.Mutex
	all     chan struct{} // nil while nobody waits
	streams map[string]*streamWake
	shut    bool
}

// streamWake is shared by the cursors on one stream.
type streamWake struct {
	ch      chan struct{}
	cursors int
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// anything returns a channel that is closed at the next event of any stream.
func (w *wakeups) anything() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		return closedChannel
	}
	if w.all == nil {
		w.all = make(chan struct{})
	}
	return w.all
}

// register announces a cursor on a stream, unregister takes it back.
func (w *wakeups) register(stream string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams == nil {
		w.streams = make(map[string]*streamWake)
	}
	s := w.streams[stream]
	if s == nil {
		s = &streamWake{}
		w.streams[stream] = s
	}
	s.cursors++
}

func (w *wakeups) unregister(stream string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.streams[stream]
	if s.cursors--; s.cursors == 0 {
		delete(w.streams, stream)
	}
}

// stream returns a channel that is closed at the next event of a registered stream.
func (w *wakeups) stream(name string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		return closedChannel
	}
	s := w.streams[name]
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (w *wakeups) publish(events []*Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all != nil {
		close(w.all)
		w.all = nil
	}
	if len(w.streams) == 0 {
		return
	}
	for _, e := range events {
		if s := w.streams[e.Stream]; s != nil && s.ch != nil {
			close(s.ch)
			s.ch = nil
		}
	}
}

// close wakes everybody for good.
func (w *wakeups) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
	if w.all != nil {
		close(w.all)
		w.all = nil
	}
	for _, s := range w.streams {
		if s.ch != nil {
			close(s.ch)
			s.ch = nil
		}
	}
}
