use std::sync::mpsc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn ten_calls_a_second_of_all_tasks() {
    let (sender, receiver) = mpsc::channel();
    let began = Instant::now();
    super::work(4, move |task| sender.send((task, began.elapsed())).unwrap()).await.unwrap();

    let calls: Vec<(u32, Duration)> = receiver.iter().collect();
    for task in 0..3 {
        assert_eq!(calls.iter().filter(|(by, _)| *by == task).count(), 4, "{calls:?}");
    }
    // No call comes before its turn, except by the millisecond that a timer may be early.
    for (turn, (_, at)) in (0..).zip(&calls) {
        assert!(*at + Duration::from_millis(2) >= Duration::from_millis(100) * turn, "{turn}: {at:?}");
    }
}
