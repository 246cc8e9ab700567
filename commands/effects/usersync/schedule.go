package usersync

import (
	"time"

	"docket/domain/directory"
)

// Schedule says when something is due.
type Schedule struct {
	Frequency string // directory.Hourly and its like
	Time      string // "15:04"
	Zone      string // of the IANA database; "": UTC
}

// lookBack is how far a due time of any frequency lies behind at most, in days.
const lookBack = 32

// Last is the last due time that is not after now. It is false for a schedule
// that means nothing.
//
// A local time that the clock jumps over is due as much later as the clock jumps:
// 02:30 at 03:30. One that comes twice is due the first time. Hourly goes by the
// minute alone.
func (s Schedule) Last(now time.Time) (time.Time, bool) {
	zone, err := time.LoadLocation(s.Zone)
	clock, wrong := time.Parse("15:04", s.Time)
	if err != nil || wrong != nil {
		return time.Time{}, false
	}
	local := now.In(zone)
	if s.Frequency == directory.Hourly {
		at := now.UTC().Truncate(time.Minute)
		for at.In(zone).Minute() != clock.Minute() {
			at = at.Add(-time.Minute)
		}
		return at, true
	}
	for back := range lookBack {
		day := time.Date(local.Year(), local.Month(), local.Day()-back, 12, 0, 0, 0, zone)
		if at := wallClock(day, clock.Hour(), clock.Minute()); s.on(day) && !at.After(now) {
			return at, true
		}
	}
	return time.Time{}, false
}

// on tells whether something is due on a day.
func (s Schedule) on(day time.Time) bool {
	switch s.Frequency {
	case directory.Daily:
		return true
	case directory.Weekly:
		return day.Weekday() == time.Monday
	case directory.Monthly:
		return day.Day() == 1
	}
	return false
}

// wallClock is the moment at which clocks show a time on a day.
func wallClock(day time.Time, hour, minute int) time.Time {
	shown := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, time.UTC)
	var before time.Time // by the offset from before any jump
	for _, around := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := shown.Add(around).In(day.Location()).Zone()
		at := shown.Add(-time.Duration(offset) * time.Second)
		if local := at.In(day.Location()); local.Hour() == hour && local.Minute() == minute && local.Day() == day.Day() {
			return at
		}
		if before.IsZero() {
			before = at
		}
	}
	return before
}
