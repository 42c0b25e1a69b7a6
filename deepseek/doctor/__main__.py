"""``python -m deepseek.doctor``"""

from deepseek.doctor.command import main

raise SystemExit(main())
