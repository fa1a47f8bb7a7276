// Added to Go's package time for a server whose wall clock a test moves. The monotonic clock is as it was.

package time

import (
	"sync/atomic"
	"syscall"
)

var (
	wallLookedAt atomic.Int64
	wallMoved    atomic.Int64
)

// movedBy is how many seconds the wall clock is ahead: what the file says that WALL_CLOCK_FILE names. It is read again
// every 50 ms.
func movedBy() int64 {
	now, last := runtimeNano(), wallLookedAt.Load()
	if now-last > 50_000_000 && wallLookedAt.CompareAndSwap(last, now) {
		wallMoved.Store(readMovedBy())
	}
	return wallMoved.Load()
}

func readMovedBy() int64 {
	path, found := syscall.Getenv("WALL_CLOCK_FILE")
	if !found {
		return 0
	}
	file, err := open(path)
	if err != nil {
		return 0
	}
	defer closefd(file)
	var text [24]byte
	length, err := read(file, text[:])
	if err != nil {
		return 0
	}
	seconds, sign := int64(0), int64(1)
	for at, digit := range text[:length] {
		switch {
		case at == 0 && digit == '-':
			sign = -1
		case digit >= '0' && digit <= '9':
			seconds = seconds*10 + int64(digit-'0')
		default:
			return sign * seconds
		}
	}
	return sign * seconds
}
